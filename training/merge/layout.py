"""Where the tensors of a safetensors file lie, read from its header alone."""

import os
import struct
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from training.errors import MergeError
from training.files.safetensors_header import TensorEntry, read_header

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


@dataclass(frozen=True, slots=True)
class FileLayout:
    """One file: its header's bytes, its tensors in file order, and what it was when read."""

    path: Path
    header: bytes
    tensors: tuple[TensorEntry, ...]
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
        header = read_header(path)
    except FileNotFoundError as error:
        raise MergeError(f"{path} does not exist.", "Check the path.") from error
    except (SafetensorError, OSError, ValueError) as error:
        raise MergeError(f"{path} is not a complete safetensors file ({error}).", fix) from error
    tensors = sorted(header.tensors.values(), key=lambda entry: (entry.start, entry.size_bytes))
    return FileLayout(path, header.raw, tuple(tensors), stat.st_size, _stamp(stat))


def read_scalar(file: FileLayout, spec: TensorEntry) -> float:
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


def _stamp(stat: os.stat_result) -> tuple[int, int, int]:
    return stat.st_ino, stat.st_size, stat.st_mtime_ns
