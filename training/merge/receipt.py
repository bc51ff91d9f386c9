"""The record of a finished merge: inputs, output and checks."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from training.errors import MergeError, NotFoundError, RequestError
from training.files.given_files import read_given
from training.files.hashing import SHA256
from training.files.sizes import MIB

# Increase this when a change to the code may change the output's bytes, so that old output is not
# reused.
MERGE_VERSION = 3
_MOST_BYTES = 64 * MIB

_SAME_EVERYWHERE = {
    *("merge_version", "base_sha256", "lora_sha256", "strength", "output_digest", "header_sha256"),
}
Sha256 = Annotated[str, Field(pattern=SHA256)]


class Receipt(BaseModel):
    """The record of a finished merge, stored as JSON beside the output.

    `tensor_sha256` has the SHA-256 of each tensor's bytes, in file order. `output_digest` is the
    SHA-256 over those hashes as bytes; `header_sha256` is made from the files' headers in the same
    way. For a sharded base, `base_sha256` is the SHA-256 of the lines `<sha256>  <name>` that
    sha256sum prints. `largest_change` is the root mean square change of the tensor that changes
    most. Like `sampled_max_error`, it has the units of the weights. `decisions` says what the merge
    did with each kind of key.
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
    decisions: dict[str, str] = {}
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
            raise ValueError(f"only {merged} layers are merged")
        return self

    @property
    def sha256(self) -> str:
        """SHA-256 of the receipt's JSON; equal to what `sha256sum` prints for its file."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    @property
    def merge_sha256(self) -> str:
        """SHA-256 of inputs and result only; unlike `sha256`, it is the same on every machine."""
        facts = self.model_dump(mode="json", include=_SAME_EVERYWHERE)
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    @property
    def address(self) -> str:
        return address(self.base_sha256, self.lora_sha256, self.strength)

    def to_json(self) -> str:
        return self.model_dump_json(indent=2) + "\n"


def address(base_sha256: str, lora_sha256: str, strength: float) -> str:
    """Return a hash that identifies the merge of these inputs; equal inputs give equal hashes."""
    inputs = [MERGE_VERSION, base_sha256, lora_sha256, float(strength)]
    return hashlib.sha256(json.dumps(inputs).encode()).hexdigest()


def receipt_path(output: Path) -> Path:
    """Return the path of the receipt that belongs to the merged model at `output`."""
    return output.with_name(f"{output.name}.receipt.json")


def read_receipt(path: Path) -> Receipt:
    """Return the receipt stored at `path`.

    Raises:
        MergeError: The receipt is missing, or was modified or damaged.
    """
    try:
        return Receipt.model_validate_json(read_given(path, _MOST_BYTES))
    except NotFoundError as error:
        raise MergeError(
            f"There is no receipt at {path}.",
            "Give the path of the receipt, or delete the merged model and merge again.",
        ) from error
    except (RequestError, ValidationError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error.cause
        raise MergeError(
            f"{path} is not a readable receipt of a merge ({reason}).",
            "Delete the merged model and merge again.",
        ) from error


def fold_digests(digests: Iterable[str]) -> str:
    """Return the SHA-256 of the given SHA-256 values (in hex), concatenated as bytes."""
    return hashlib.sha256(b"".join(map(bytes.fromhex, digests))).hexdigest()
