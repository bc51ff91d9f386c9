"""Reads and writes headers of safetensors files, without torch and without loading all tensors."""

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, TypeAdapter, ValidationError

from training.files.safetensors_format import LENGTH_BYTES, METADATA, header_end, packed

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_NUMPY = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4"}


_ITEM_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4}


class _StoredTensor(BaseModel):
    """One tensor's entry in the header; other fields of the entry are ignored."""

    model_config = ConfigDict(frozen=True, strict=True)

    dtype: str
    shape: list[NonNegativeInt]
    data_offsets: list[NonNegativeInt] = Field(min_length=2, max_length=2)


_TENSORS_OF_FILE = TypeAdapter(dict[str, _StoredTensor])
# The safetensors library writes and accepts null if there is no metadata.
_METADATA_OF_FILE = TypeAdapter[dict[str, str] | None](dict[str, str] | None)


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """One tensor of a file; `dtype` is spelled as in the file, such as `BF16`.

    Offsets count bytes from the start of the file.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int

    @property
    def size_bytes(self) -> int:
        return self.end - self.start

    @property
    def elements(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class TensorHeader:
    """The tensors and metadata of one file; `raw` is the header with its length prefix."""

    path: Path
    raw: bytes
    tensors: dict[str, TensorEntry]
    metadata: dict[str, str]

    def read(self, name: str) -> "npt.NDArray[np.floating[Any] | np.integer[Any]]":
        """Return one tensor. numpy has no bf16, so bf16 is widened to float32."""
        import numpy as np

        entry = self.tensors[name]
        with self.path.open("rb") as file:
            file.seek(entry.start)
            data = file.read(entry.size_bytes)
        if entry.dtype == "BF16":
            wide = np.frombuffer(data, "<u2").astype("<u4") << 16
            return wide.view("<f4").reshape(entry.shape)
        return np.frombuffer(data, _NUMPY[entry.dtype]).reshape(entry.shape)

    def first_non_finite(self) -> str | None:
        """Return the name of the first tensor that holds NaN or infinity; None if none does."""
        import numpy as np

        readable = (n for n, entry in self.tensors.items() if entry.dtype in {*_NUMPY, "BF16"})
        return next((name for name in readable if not np.isfinite(self.read(name)).all()), None)


def read_header(path: Path) -> TensorHeader:
    """Return the header of the safetensors file at `path`.

    Raises:
        ValueError: The file is truncated, malformed or names a tensor twice.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        end = header_end(file.read(LENGTH_BYTES))
        if end is None or end > size:
            raise ValueError(f"{path.name} is cut off or is not a safetensors file")
        file.seek(0)
        raw = file.read(end)
    try:
        header = json.loads(raw[LENGTH_BYTES:], object_pairs_hook=_without_repeats)
        metadata = _METADATA_OF_FILE.validate_python(header.pop(METADATA, None)) or {}
        stored = _TENSORS_OF_FILE.validate_python(header)
    except (AttributeError, TypeError, RecursionError, ValidationError) as error:
        raise ValueError(f"{path.name} has a malformed header") from error
    tensors = {name: _entry(name, tensor, len(raw)) for name, tensor in stored.items()}
    if size != max((entry.end for entry in tensors.values()), default=len(raw)):
        raise ValueError(f"{path.name} is cut off")
    return TensorHeader(path, raw, tensors, metadata)


def header_bytes(
    tensors: Iterable[tuple[str, str, tuple[int, ...], int]], metadata: Mapping[str, str]
) -> bytes:
    """Return the header for tensors, each given as its name, dtype, shape and size in bytes.

    Equal input gives equal bytes. The safetensors library would order the metadata randomly.
    """
    header: dict[str, object] = {}
    start = 0
    for name, dtype, shape, size_bytes in tensors:
        end = start + size_bytes
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}
        start = end
    return packed(dict(sorted(metadata.items())), header)


def _entry(name: str, stored: _StoredTensor, base: int) -> TensorEntry:
    start, end = stored.data_offsets
    entry = TensorEntry(name, stored.dtype, tuple(stored.shape), base + start, base + end)
    item_bytes = _ITEM_BYTES.get(entry.dtype)
    if item_bytes is not None and entry.elements * item_bytes != entry.size_bytes:
        raise ValueError(f"its header is malformed: the size of {name} does not fit its shape")
    return entry


def _without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    repeated = [name for name, count in Counter(name for name, _ in pairs).items() if count > 1]
    if repeated:
        raise ValueError(f"its header names a tensor twice: {', '.join(sorted(repeated)[:5])}")
    return dict(pairs)
