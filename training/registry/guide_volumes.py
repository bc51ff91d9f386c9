"""Finds datasets and LoRA files in the Modal Volumes that the training guide's scripts filled.

"The guide" is the manual for training Wan LoRAs on Modal that this project automates. One of
its scripts copies `datasets/<name>/images` and `datasets/<name>/videos`, with captions, into the
Volume `datasets`; the depth of these folders varies. The guide's training writes LoRA files to
`outputs/<run>/` in the Volume `kohya-volume`. The folder `resume_checkpoints/` in that Volume holds
LoRA files to resume from.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from training.dataset.media_types import CLIPS, CONVERTED_IMAGES, IMAGES
from training.dataset.zip.member_names import JUNK_FOLDERS, MEDIA_FOLDERS
from training.runs.spec import name_from_file

_MEDIA = IMAGES | CONVERTED_IMAGES | CLIPS
_WEIGHTS = ".safetensors"
_STATE = "-state"  # the suffix of folders that hold optimizer states
_OUTPUTS, _TO_RESUME = "outputs", "resume_checkpoints"
_CONFIG_BYTES = 64 * 1024  # ample for a dataset TOML, which takes a few KiB


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file of a Volume; `path` is relative to the Volume's root."""

    path: str
    size_bytes: int

    @property
    def pure(self) -> PurePosixPath:
        return PurePosixPath(self.path)


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundDataset:
    """A folder of images or clips in a Volume.

    Attributes:
        name: The name that the stored dataset gets.
        folder: Path of the folder; "." for the Volume's root.
        files: The files in it, except latent caches and junk such as `__MACOSX`.
        configs: TOML files outside all dataset folders; one of them may describe this folder.
    """

    name: str
    folder: str
    files: tuple[SourceFile, ...]
    configs: tuple[SourceFile, ...]

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files)

    @property
    def media(self) -> int:
        return sum(file.pure.suffix.lower() in _MEDIA for file in self.files)

    def place(self, file: SourceFile) -> str:
        return str(file.pure.relative_to(self.folder))


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundLora:
    """A LoRA file that training wrote or can resume from; `name` is unique among those found."""

    name: str
    file: SourceFile


def find_datasets(files: Sequence[SourceFile]) -> list[FoundDataset]:
    own = [file for file in files if not _is_leftover(file)]
    media = [file for file in own if file.pure.suffix.lower() in _MEDIA]
    belongs: dict[PurePosixPath | None, list[SourceFile]] = {
        folder: [] for folder in sorted({_dataset_folder(file.pure) for file in media}, key=str)
    }
    folders = [folder for folder in belongs if folder is not None]
    for file in own:
        nearest = next((folder for folder in file.pure.parents if folder in belongs), None)
        belongs.setdefault(nearest, []).append(file)
    configs = tuple(file for file in belongs.pop(None, []) if _is_config(file))
    names = _names([folder.name for folder in folders], folders, "dataset")
    return [
        FoundDataset(name=name, folder=str(folder), files=tuple(belongs[folder]), configs=configs)
        for name, folder in zip(names, folders, strict=True)
    ]


def find_loras(files: Sequence[SourceFile]) -> list[FoundLora]:
    """Return the LoRA files among the files of a Volume, each with a unique name."""
    found = [file for file in files if _is_lora(file.pure)]
    parents = [file.pure.parent for file in found]
    names = _names([file.pure.stem for file in found], parents, "checkpoint")
    listed = zip(names, found, strict=True)
    return [FoundLora(name=name, file=file) for name, file in listed]


def _names(wanted: Sequence[str], parents: Sequence[PurePosixPath], default: str) -> Iterator[str]:
    """Yield valid, unique names; tell equal ones apart by their folders and by numbers."""
    plain = [name_from_file(f"{name}.zip", default) for name in wanted]
    taken: set[str] = set()
    for name, parent in zip(plain, parents, strict=True):
        is_alone = plain.count(name) == 1
        base = name if is_alone else name_from_file(f"{'-'.join(parent.parts)}-{name}", default)
        chosen, number = base, 1
        while chosen in taken:
            number += 1
            chosen = f"{base[:60]}-{number}"
        taken.add(chosen)
        yield chosen


def _is_leftover(file: SourceFile) -> bool:
    is_cache = file.pure.suffix.lower() == _WEIGHTS
    return is_cache or bool({part.lower() for part in file.pure.parts} & JUNK_FOLDERS)


def _is_config(file: SourceFile) -> bool:
    return file.pure.suffix.lower() == ".toml" and file.size_bytes <= _CONFIG_BYTES


def _dataset_folder(path: PurePosixPath) -> PurePosixPath:
    """Return the dataset folder that holds a file, such as `annika` for `annika/images/01.png`."""
    for folder in path.parents:
        if folder.name.lower() in MEDIA_FOLDERS:
            return folder.parent
    return path.parent


def _is_lora(path: PurePosixPath) -> bool:
    folders = [folder.lower() for folder in path.parts[:-1]]
    return (
        path.suffix.lower() == _WEIGHTS
        and bool({_OUTPUTS, _TO_RESUME} & set(folders))
        and not any(folder.endswith(_STATE) for folder in folders)
    )


def config_mentions(text: str, folder: str) -> bool:
    """Return whether a path in a dataset TOML contains this folder's name."""
    name = PurePosixPath(folder).name
    return any(name in PurePosixPath(line).parts for line in _quoted(text))


def _quoted(text: str) -> Iterator[str]:
    for line in text.splitlines():
        for quote in ('"', "'"):
            parts = line.split(quote)
            yield from parts[1::2]
