"""The files of a base model: one safetensors file, or several with an index."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ValidationError

from training.errors import MergeError
from training.files.safetensors_header import TensorEntry
from training.merge.layout import FileLayout, listed, read_layout


class _Index(BaseModel):
    weight_map: dict[str, str]


@dataclass(frozen=True, slots=True)
class BaseFiles:
    """A base model on disk; `index` is the index JSON of a model in several files."""

    path: Path
    files: tuple[FileLayout, ...]
    index: bytes | None = None

    @property
    def tensors(self) -> Iterator[tuple[FileLayout, TensorEntry]]:
        """Every tensor with its file, in the order in which they are stored."""
        return ((file, spec) for file in self.files for spec in file.tensors)

    @property
    def data_bytes(self) -> int:
        """Size of all tensors together."""
        return sum(spec.size_bytes for _, spec in self.tensors)


def read_base(path: Path) -> BaseFiles:
    """Return the files of the model at `path`: a file, an index JSON, or the folder of one.

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
        raise MergeError(f"{cause}: {listed(differing)}.", fix)
    return base


def _index_in(folder: Path) -> Path:
    found = sorted(folder.glob("*.index.json"))
    if len(found) != 1:
        raise MergeError(
            f"{folder} holds {len(found)} index files; a model in several files has one.",
            "Name the safetensors file or the index JSON itself.",
        )
    return found[0]
