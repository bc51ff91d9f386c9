"""Where the tensors of a safetensors file lie, read from its header alone."""

import json
import math
import os
import struct
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open

from training.errors import MergeError

_LENGTH_BYTES = 8  # the header's length, a little-endian u64
_LISTED = 5
_SCALAR_FORMATS = {
    "I8": "<b",
    "U8": "<B",
    "I16": "<h",
    "U16": "<H",
    "I32": "<i",
    "U32": "<I",
    "I64": "<q",
    "U64": "<Q",
    "F16": "<e",
    "F32": "<f",
    "F64": "<d",
}


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid")
    dtype: str
    shape: tuple[Annotated[int, Field(ge=0)], ...]
    data_offsets: tuple[int, int]


_ENTRIES = TypeAdapter(dict[str, _Entry])


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One tensor of a file; `start` counts from the file's first byte."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    size_bytes: int

    @property
    def elements(self) -> int:
        """How many numbers the tensor holds."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class FileLayout:
    """One file: its header's bytes, its tensors in file order, and what it was when read."""

    path: Path
    header: bytes
    tensors: tuple[TensorSpec, ...]
    size_bytes: int
    stamp: tuple[int, int, int]

    def is_unchanged(self) -> bool:
        """Tell whether the file is still the one whose header was read."""
        return _stamp(self.path.stat()) == self.stamp


def read_layout(path: Path) -> FileLayout:
    """Return the layout of the safetensors file at `path`.

    Raises:
        MergeError: The file is missing, incomplete or not a safetensors file.
    """
    fix = f"Fetch {path.name} again and check its size and SHA-256."
    try:
        stat = path.stat()
        with safe_open(path, framework="np"):  # the library checks sizes, gaps and overlaps
            pass
        with path.open("rb") as file:
            prefix = file.read(_LENGTH_BYTES)
            header = prefix + file.read(struct.unpack("<Q", prefix)[0])
        tensors = _tensors(header)
    except FileNotFoundError as error:
        raise MergeError(f"{path} does not exist.", "Check the path.") from error
    except (SafetensorError, OSError, ValidationError, ValueError) as error:
        raise MergeError(f"{path} is not a complete safetensors file ({error}).", fix) from error
    return FileLayout(path, header, tensors, stat.st_size, _stamp(stat))


def read_scalar(file: FileLayout, spec: TensorSpec) -> float:
    """Return the one number that `spec` holds, whatever its dtype.

    Raises:
        MergeError: It holds no single number, or its dtype is not a plain number's.
    """
    with file.path.open("rb") as stream:
        raw = os.pread(stream.fileno(), spec.size_bytes, spec.start)
    if spec.elements == 1 and spec.dtype == "BF16":
        return struct.unpack("<f", b"\0\0" + raw)[0]
    if spec.elements == 1 and spec.dtype in _SCALAR_FORMATS:
        return float(struct.unpack(_SCALAR_FORMATS[spec.dtype], raw)[0])
    raise MergeError(
        f"{spec.name} is {spec.dtype} of shape {list(spec.shape)}, not a single number.",
        "Use the LoRA as its authors published it.",
    )


def listed(names: Collection[str]) -> str:
    """Return the first few of `names` and how many more there are."""
    first = ", ".join(sorted(names)[:_LISTED])
    more = len(names) - _LISTED
    return f"{first} and {more} more" if more > 0 else first


def _tensors(header: bytes) -> tuple[TensorSpec, ...]:
    raw = json.loads(header[_LENGTH_BYTES:], object_pairs_hook=_without_repeats)
    raw.pop("__metadata__", None)
    entries = _ENTRIES.validate_python(raw)
    specs = (
        TensorSpec(name, e.dtype, e.shape, len(header) + e.data_offsets[0], _span(e))
        for name, e in entries.items()
    )
    return tuple(sorted(specs, key=lambda spec: (spec.start, spec.size_bytes)))


def _span(entry: _Entry) -> int:
    return entry.data_offsets[1] - entry.data_offsets[0]


def _without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    repeated = [name for name, count in Counter(name for name, _ in pairs).items() if count > 1]
    if repeated:
        raise ValueError(f"its header names a tensor twice: {listed(repeated)}")
    return dict(pairs)


def _stamp(stat: os.stat_result) -> tuple[int, int, int]:
    return stat.st_ino, stat.st_size, stat.st_mtime_ns
