"""The record of a finished merge: inputs, output and checks."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from training.errors import MergeError

# Increased whenever the same inputs may give different bytes, so that old output is not reused.
MERGE_VERSION = 3

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Receipt(BaseModel):
    """A finished merge, stored as JSON beside the output.

    `output_digest` is the SHA-256 over the binary SHA-256 of every tensor's bytes, in file order;
    `header_sha256` covers the files' headers in the same way. For a sharded base, `base_sha256` is
    that of the lines `<sha256>  <name>` that sha256sum prints. Errors and changes are absolute, in
    the units of the weights; `largest_change` is the root mean square of the change of the tensor
    that changes most.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    merge_version: int = MERGE_VERSION
    base_name: str
    lora_name: str
    base_sha256: Sha256
    lora_sha256: Sha256
    hashes_taken_as_known: tuple[Literal["base", "lora"], ...] = ()
    strength: float
    output_digest: Sha256
    header_sha256: Sha256
    tensor_sha256: dict[str, Sha256]
    layers_merged: int
    layers_expected: int
    layers_extra: int
    tensors_changed: int
    keys_skipped: dict[str, str]
    largest_change: float
    largest_change_layer: str
    sampled_max_error: float
    sampled_values: int
    seconds: float
    bytes: int
    versions: dict[str, str]

    @model_validator(mode="after")
    def _is_of_a_whole_merge(self) -> Self:
        if fold_digests(self.tensor_sha256.values()) != self.output_digest:
            raise ValueError("output_digest does not match the listed tensors")
        if self.layers_merged != self.layers_expected:
            merged = f"{self.layers_merged} of {self.layers_expected}"
            raise ValueError(f"{merged} layers are not a complete merge")
        return self

    @property
    def sha256(self) -> str:
        """SHA-256 of the stored receipt; `sha256sum` of the file gives the same."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    @property
    def address(self) -> str:
        return address(self.base_sha256, self.lora_sha256, self.strength)

    def to_json(self) -> str:
        return self.model_dump_json(indent=2) + "\n"


def address(base_sha256: str, lora_sha256: str, strength: float) -> str:
    """Return the content address of the merge of these inputs."""
    inputs = [MERGE_VERSION, base_sha256, lora_sha256, float(strength)]
    return hashlib.sha256(json.dumps(inputs).encode()).hexdigest()


def receipt_path(output: Path) -> Path:
    """Return where the receipt of `output` is stored."""
    return output.with_name(f"{output.name}.receipt.json")


def read_receipt(path: Path) -> Receipt:
    """Return the receipt stored at `path`.

    Raises:
        MergeError: There is none, or it was modified or damaged.
    """
    try:
        return Receipt.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise MergeError(
            f"There is no receipt at {path}.",
            "Name it with --receipt, or delete the merged model and merge again.",
        ) from error
    except (OSError, ValidationError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise MergeError(
            f"{path} cannot be read as a receipt of a merge ({reason}).",
            "Delete the merged model and merge again.",
        ) from error


def fold_digests(digests: Iterable[str]) -> str:
    """Return the SHA-256 over the given SHA-256 values (hex), taken as bytes, in order."""
    return hashlib.sha256(b"".join(map(bytes.fromhex, digests))).hexdigest()
