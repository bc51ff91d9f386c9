"""The input files of a merge, described by their safetensors headers."""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ValidationError
from safetensors import SafetensorError, safe_open

from training.errors import MergeError
from training.files.safetensors_header import TensorEntry, read_header
from training.wording import listed

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
    """One file: its raw header, its tensors in file order, and a stamp to detect changes."""

    path: Path
    header: bytes
    tensors: tuple[TensorEntry, ...]
    size_bytes: int
    stamp: tuple[int, int, int]

    def is_unchanged(self) -> bool:
        """Return whether the file is still the one whose header was read."""
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
    """Return the single number in `spec`, whatever its dtype.

    Raises:
        MergeError: It is not a single number, or its dtype is unknown.
    """
    with file.path.open("rb") as stream:
        raw = os.pread(stream.fileno(), spec.size_bytes, spec.start)
    if spec.elements == 1 and spec.dtype == "BF16":
        return struct.unpack("<f", b"\0\0" + raw)[0]
    if spec.elements == 1 and spec.dtype in _SCALAR_FORMATS:
        return float(struct.unpack(_SCALAR_FORMATS[spec.dtype], raw)[0])
    raise MergeError(
        f"{spec.name} is {spec.dtype} of shape {list(spec.shape)}, not a single number.",
        "Use the original LoRA file.",
    )


def _stamp(stat: os.stat_result) -> tuple[int, int, int]:
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


class _Index(BaseModel):
    weight_map: dict[str, str]


@dataclass(frozen=True, slots=True)
class BaseFiles:
    """A base model on disk; `index` is the index JSON of a sharded model."""

    path: Path
    files: tuple[FileLayout, ...]
    index: bytes | None = None

    @property
    def tensors(self) -> Iterator[tuple[FileLayout, TensorEntry]]:
        """Every tensor with its file, in storage order."""
        return ((file, spec) for file in self.files for spec in file.tensors)

    @property
    def data_bytes(self) -> int:
        """Total size of all tensors."""
        return sum(spec.size_bytes for _, spec in self.tensors)


def read_base(path: Path) -> BaseFiles:
    """Return the files of the model at `path`: a file, an index JSON, or its folder.

    Raises:
        MergeError: A file is missing or damaged, or index and files disagree.
    """
    if path.is_dir():
        return read_base(_index_in(path))
    if path.suffix != ".json":
        return BaseFiles(path, (read_layout(path),))
    fix = f"Fetch {path.name} and the files it names again, from one revision."
    try:
        raw = path.read_bytes()
        placed = _Index.model_validate_json(raw).weight_map
    except (OSError, ValidationError) as error:
        raise MergeError(f"{path} cannot be read as an index of shards ({error}).", fix) from error
    names = sorted(set(placed.values()))
    if strange := [name for name in names if Path(name).name != name]:
        raise MergeError(f"{path.name} names files outside its folder: {listed(strange)}.", fix)
    base = BaseFiles(path, tuple(read_layout(path.parent / name) for name in names), raw)
    found = [(spec.name, file.path.name) for file, spec in base.tensors]
    if differing := {name for name, _ in set(found) ^ set(placed.items())}:
        cause = f"{path.name} and its files disagree on {len(differing)} tensors"
        raise MergeError(f"{cause}: {listed(sorted(differing))}.", fix)
    return base


def _index_in(folder: Path) -> Path:
    found = sorted(folder.glob("*.index.json"))
    if len(found) != 1:
        raise MergeError(
            f"{folder} has {len(found)} index files; a sharded model has one.",
            "Name the safetensors file or the index JSON itself.",
        )
    return found[0]
