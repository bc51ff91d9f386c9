"""The input files of a merge, described by their safetensors headers."""

import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from stat import S_ISREG

from pydantic import BaseModel, ValidationError
from safetensors import SafetensorError, safe_open

from training.errors import MergeError, TrainingError
from training.files.given_files import read_given
from training.files.safetensors_header import TensorEntry, read_header
from training.files.sizes import MIB
from training.wording import count, listed

_MOST_INDEX_BYTES = 64 * MIB
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
    """A safetensors file: raw header, tensors in file order, and a stamp to detect changes."""

    path: Path
    header: bytes
    tensors: tuple[TensorEntry, ...]
    metadata: Mapping[str, str] = field(repr=False)
    size_bytes: int
    stamp: tuple[int, int, int]

    def is_unchanged(self) -> bool:
        return _stamp(self.path.stat()) == self.stamp


def read_layout(path: Path) -> FileLayout:
    """Return the layout of the safetensors file at `path`.

    Raises:
        MergeError: The file is missing, is incomplete or is not a safetensors file.
    """
    fix = f"Download {path.name} again and check its size and SHA-256."
    try:
        stat = path.stat()
        if not S_ISREG(stat.st_mode):
            raise MergeError(f"{path} is not a regular file.", "Check the path.")
        with safe_open(path, framework="np"):  # opening checks sizes, gaps and overlaps
            pass
        header = read_header(path)
    except FileNotFoundError as error:
        raise MergeError(f"{path} does not exist.", "Check the path.") from error
    except (SafetensorError, OSError, ValueError) as error:
        raise MergeError(f"{path} is not a complete safetensors file ({error}).", fix) from error
    tensors = sorted(header.tensors.values(), key=lambda entry: (entry.start, entry.size_bytes))
    return FileLayout(path, header.raw, tuple(tensors), header.metadata, stat.st_size, _stamp(stat))


def read_scalar(file: FileLayout, spec: TensorEntry) -> float:
    """Return the number in a tensor that has one element, whatever its dtype.

    Raises:
        MergeError: The tensor has several elements, or an unknown dtype.
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
    """A base model on disk; `index` is the content of a sharded model's index JSON, else None."""

    path: Path
    files: tuple[FileLayout, ...]
    index: bytes | None = None

    @property
    def tensors(self) -> Iterator[tuple[FileLayout, TensorEntry]]:
        """Every tensor with its file, in the order of the files and of the tensors in each file."""
        return ((file, spec) for file in self.files for spec in file.tensors)

    @property
    def data_bytes(self) -> int:
        return sum(spec.size_bytes for _, spec in self.tensors)


def read_base(path: Path) -> BaseFiles:
    """Return the files of a model; `path` is a weight file, an index JSON, or the index's folder.

    Raises:
        MergeError: A file is missing or damaged, or the files do not hold the tensors that the
            index lists.
    """
    if path.is_dir():
        return read_base(_index_in(path))
    if path.suffix != ".json":
        return BaseFiles(path, (read_layout(path),))
    fix = f"Download {path.name} again, with all files that it lists, from one revision."
    try:
        raw = read_given(path, _MOST_INDEX_BYTES)
        placed = _Index.model_validate_json(raw).weight_map
    except ValidationError as error:
        raise MergeError(f"{path} cannot be read as an index of shards ({error}).", fix) from error
    except TrainingError as error:
        raise MergeError(error.cause, error.fix) from error
    names = sorted(set(placed.values()))
    if strange := [name for name in names if Path(name).name != name]:
        raise MergeError(f"{path.name} lists files outside its folder: {listed(strange)}.", fix)
    base = BaseFiles(path, tuple(read_layout(path.parent / name) for name in names), raw)
    found = [(spec.name, file.path.name) for file, spec in base.tensors]
    if differing := {name for name, _ in set(found) ^ set(placed.items())}:
        cause = f"{path.name} and its files disagree on {count(len(differing), 'tensor')}"
        raise MergeError(f"{cause}: {listed(sorted(differing))}.", fix)
    return base


def _index_in(folder: Path) -> Path:
    found = sorted(folder.glob("*.index.json"))
    if len(found) != 1:
        raise MergeError(
            f"{folder} has {len(found)} index files; a sharded model has exactly one.",
            "Give the path of the safetensors file or of the index JSON.",
        )
    return found[0]
