"""The header of a safetensors file, read without torch and without loading a tensor."""

import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

_LENGTH_BYTES = 8
_MAX_HEADER_BYTES = 100_000_000  # the format's own limit
_NUMPY = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4"}


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """Where one tensor lies: its dtype as the format names it, shape and file offsets."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class TensorHeader:
    """All tensors and the metadata of one file."""

    path: Path
    tensors: dict[str, TensorEntry]
    metadata: dict[str, str]

    def read(self, name: str) -> npt.NDArray[np.floating[Any] | np.integer[Any]]:
        """Return one tensor; bf16, which numpy lacks, comes as float32."""
        entry = self.tensors[name]
        with self.path.open("rb") as file:
            file.seek(entry.start)
            data = file.read(entry.end - entry.start)
        if entry.dtype == "BF16":
            wide = np.frombuffer(data, "<u2").astype("<u4") << 16
            return wide.view("<f4").reshape(entry.shape)
        return np.frombuffer(data, _NUMPY[entry.dtype]).reshape(entry.shape)


def read_header(path: Path) -> TensorHeader:
    """Return the header of a complete safetensors file.

    Raises:
        ValueError: The file is cut off or is not of this format.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(_LENGTH_BYTES)
        length = struct.unpack("<Q", head)[0] if len(head) == _LENGTH_BYTES else size
        if _LENGTH_BYTES + length > size or length > _MAX_HEADER_BYTES:
            raise ValueError(f"{path.name} is cut off or is not a safetensors file")
        header: dict[str, dict[str, Any]] = json.loads(file.read(length))
    base = _LENGTH_BYTES + length
    metadata: dict[str, str] = header.pop("__metadata__", {})
    tensors = {
        name: TensorEntry(
            entry["dtype"],
            tuple(entry["shape"]),
            base + entry["data_offsets"][0],
            base + entry["data_offsets"][1],
        )
        for name, entry in header.items()
    }
    if size != max((entry.end for entry in tensors.values()), default=base):
        raise ValueError(f"{path.name} is cut off")
    return TensorHeader(path, tensors, metadata)
