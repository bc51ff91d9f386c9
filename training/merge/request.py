"""The request for a merge, and its progress."""

import re
from dataclasses import dataclass
from pathlib import Path

from training.files.hashing import SHA256


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeRequest:
    """A speed LoRA to merge into a base model.

    Attributes:
        base: A safetensors file; for a sharded model, its index JSON or the index's folder.
        lora: The LoRA's safetensors file.
        output: Where the merged model appears once complete: a file; for a sharded base, a folder
            or the path of the index JSON in that folder.
        strength: Factor on every change of the LoRA.
        expected: Modules such as `blocks.0.self_attn.q` that must all change. None: if the LoRA
            changes a module in one block, it must change that module in every block.
        expected_count: How many weight matrices must change; None accepts any number.
        base_sha256: Hash of the base, if known; otherwise it is computed.
        lora_sha256: Hash of the LoRA, if known; otherwise it is computed.
    """

    base: Path
    lora: Path
    output: Path
    strength: float = 1.0
    expected: frozenset[str] | None = None
    expected_count: int | None = None
    base_sha256: str | None = None
    lora_sha256: str | None = None

    def __post_init__(self) -> None:
        for known in (self.base_sha256, self.lora_sha256):
            if known is not None and not re.fullmatch(SHA256, known):
                raise ValueError(f"not a SHA-256 in lower-case hex: {known!r}")


@dataclass(frozen=True, slots=True)
class MergeProgress:
    """How much of the output is written; layers are the weight matrices that change."""

    layers_done: int
    layers_total: int
    bytes_done: int
    bytes_total: int
