"""The header of a safetensors file, read and written without torch and without loading a tensor."""

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

_LENGTH_BYTES = 8  # the header's length, a little-endian u64; the header is padded to it as well
_MAX_HEADER_BYTES = 100_000_000  # the format's own limit
_METADATA = "__metadata__"
_NUMPY = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4"}


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """One tensor: its dtype as the format spells it; offsets count from the start of the file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int

    @property
    def size_bytes(self) -> int:
        """Size of the tensor's data."""
        return self.end - self.start

    @property
    def elements(self) -> int:
        """Number of values."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class TensorHeader:
    """The tensors and metadata of one file; `raw` is the header with its length prefix."""

    path: Path
    raw: bytes
    tensors: dict[str, TensorEntry]
    metadata: dict[str, str]

    def read(self, name: str) -> npt.NDArray[np.floating[Any] | np.integer[Any]]:
        """Return one tensor. numpy has no bf16, so bf16 is widened to float32."""
        entry = self.tensors[name]
        with self.path.open("rb") as file:
            file.seek(entry.start)
            data = file.read(entry.size_bytes)
        if entry.dtype == "BF16":
            wide = np.frombuffer(data, "<u2").astype("<u4") << 16
            return wide.view("<f4").reshape(entry.shape)
        return np.frombuffer(data, _NUMPY[entry.dtype]).reshape(entry.shape)


def read_header(path: Path) -> TensorHeader:
    """Return the header of the safetensors file at `path`.

    Raises:
        ValueError: The file is truncated, malformed or names a tensor twice.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        prefix = file.read(_LENGTH_BYTES)
        length = int.from_bytes(prefix, "little") if len(prefix) == _LENGTH_BYTES else size
        if _LENGTH_BYTES + length > size or length > _MAX_HEADER_BYTES:
            raise ValueError(f"{path.name} is cut off or is not a safetensors file")
        raw = prefix + file.read(length)
    header = json.loads(raw[_LENGTH_BYTES:], object_pairs_hook=_without_repeats)
    try:
        metadata: dict[str, str] = header.pop(_METADATA, {})
        tensors = {name: _entry(name, stored, len(raw)) for name, stored in header.items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path.name} has a malformed header") from error
    if size != max((entry.end for entry in tensors.values()), default=len(raw)):
        raise ValueError(f"{path.name} is cut off")
    return TensorHeader(path, raw, tensors, metadata)


def header_bytes(
    tensors: Iterable[tuple[str, str, tuple[int, ...], int]], metadata: Mapping[str, str]
) -> bytes:
    """Return the header of a file with these tensors, as name, dtype, shape and size in bytes.

    Equal input gives equal bytes; the library's own writer orders the metadata at random.
    """
    header: dict[str, object] = {_METADATA: dict(sorted(metadata.items()))} if metadata else {}
    start = 0
    for name, dtype, shape, size_bytes in tensors:
        end = start + size_bytes
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}
        start = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _LENGTH_BYTES)
    return len(text).to_bytes(_LENGTH_BYTES, "little") + text


def _entry(name: str, stored: dict[str, Any], base: int) -> TensorEntry:
    start, end = stored["data_offsets"]
    return TensorEntry(name, stored["dtype"], tuple(stored["shape"]), base + start, base + end)


def _without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    repeated = [name for name, count in Counter(name for name, _ in pairs).items() if count > 1]
    if repeated:
        raise ValueError(f"its header names a tensor twice: {', '.join(sorted(repeated)[:5])}")
    return dict(pairs)
