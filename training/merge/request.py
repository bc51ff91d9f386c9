"""The request for a merge, and its progress."""

import re
from dataclasses import dataclass
from pathlib import Path

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeRequest:
    """A speed LoRA to merge into a base model.

    Attributes:
        base: A safetensors file, or the index JSON (or its folder) of a sharded model.
        lora: The LoRA's safetensors file.
        output: Where the merged model appears once complete: a file, or for a sharded base a
            folder (or the path of the new index in its own folder).
        strength: Factor on every change of the LoRA.
        expected: Modules such as `blocks.0.self_attn.q` that must all change. None means every
            2-D weight of the blocks whose module kind the LoRA covers.
        expected_count: How many weight matrices must change.
        known_unused: Names or `fnmatch` patterns of LoRA keys that may be skipped.
        base_sha256: Hash of the base, if known; otherwise it is computed.
        lora_sha256: Hash of the LoRA, if known; otherwise it is computed.
    """

    base: Path
    lora: Path
    output: Path
    strength: float = 1.0
    expected: frozenset[str] | None = None
    expected_count: int | None = None
    known_unused: tuple[str, ...] = ()
    base_sha256: str | None = None
    lora_sha256: str | None = None

    def __post_init__(self) -> None:
        for known in (self.base_sha256, self.lora_sha256):
            if known is not None and not _SHA256.fullmatch(known):
                raise ValueError(f"not a SHA-256 in lower-case hex: {known!r}")


@dataclass(frozen=True, slots=True)
class MergeProgress:
    """Output written so far; layers are the weight matrices that change."""

    layers_done: int
    layers_total: int
    bytes_done: int
    bytes_total: int
