"""What the Volumes of somebody who followed the guide hold, told from the paths of their files.

The guide's script copies `datasets/<name>/images` and `videos` with captions into the Volume
`datasets`, at one depth or another; trainings leave `outputs/<run>/` in the Volume `kohya-volume`,
LoRAs to go on from lie in `resume_checkpoints/` there.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from training.dataset.zip.member_names import JUNK_FOLDERS, MEDIA_FOLDERS
from training.dataset.zip.members import CLIPS, CONVERTED_IMAGES, IMAGES
from training.errors import RequestError
from training.runs.spec import name_from_file

_MEDIA = IMAGES | CONVERTED_IMAGES | CLIPS
_WEIGHTS = ".safetensors"
_STATE = "-state"  # how the folders of training states end
_OUTPUTS, _TO_RESUME = "outputs", "resume_checkpoints"
# A dataset's TOML has a few KiB.
_CONFIG_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file of a Volume; its path begins at the Volume's root, without a slash."""

    path: str
    size_bytes: int

    @property
    def pure(self) -> PurePosixPath:
        """The path."""
        return PurePosixPath(self.path)


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundDataset:
    """A folder of media with captions.

    Attributes:
        name: What it is called when it is stored.
        folder: Where it lies; "." for the Volume's root.
        files: All that belongs to it, caches left out.
        configs: TOML files elsewhere in the Volume, one of which may name the folder.
    """

    name: str
    folder: str
    files: tuple[SourceFile, ...]
    configs: tuple[SourceFile, ...]

    @property
    def size_bytes(self) -> int:
        """What its files take."""
        return sum(file.size_bytes for file in self.files)

    @property
    def media(self) -> int:
        """How many images and clips it has."""
        return sum(file.pure.suffix.lower() in _MEDIA for file in self.files)

    def place(self, file: SourceFile) -> str:
        """Return where a file of it goes in a zip."""
        return str(file.pure.relative_to(self.folder))


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundCheckpoint:
    """A LoRA file of a training, or one to go on from."""

    name: str
    file: SourceFile


def find_datasets(files: Sequence[SourceFile]) -> list[FoundDataset]:
    """Return the datasets of a Volume, by name."""
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


def find_checkpoints(files: Sequence[SourceFile]) -> list[FoundCheckpoint]:
    """Return the LoRA files of a Volume, by name; training states are none."""
    found = [file for file in files if _is_checkpoint(file.pure)]
    parents = [file.pure.parent for file in found]
    names = _names([file.pure.stem for file in found], parents, "checkpoint")
    listed = zip(names, found, strict=True)
    return [FoundCheckpoint(name=name, file=file) for name, file in listed]


def _names(wanted: Sequence[str], parents: Sequence[PurePosixPath], default: str) -> Iterator[str]:
    """Yield a name for each, with its folder's and then a number where several want the same."""
    plain = [_plain(name, default) for name in wanted]
    taken: set[str] = set()
    for name, parent in zip(plain, parents, strict=True):
        is_alone = plain.count(name) == 1
        base = name if is_alone else _plain(f"{'-'.join(parent.parts)}-{name}", default)
        chosen, number = base, 1
        while chosen in taken:
            number += 1
            chosen = f"{base[:60]}-{number}"
        taken.add(chosen)
        yield chosen


def _plain(name: str, default: str) -> str:
    """Return what can be a name, `default` where nothing of it can."""
    try:
        return name_from_file(f"{name}.zip")
    except RequestError:
        return default


def _is_leftover(file: SourceFile) -> bool:
    is_cache = file.pure.suffix.lower() == _WEIGHTS
    return is_cache or bool({part.lower() for part in file.pure.parts} & JUNK_FOLDERS)


def _is_config(file: SourceFile) -> bool:
    return file.pure.suffix.lower() == ".toml" and file.size_bytes <= _CONFIG_BYTES


def _dataset_folder(path: PurePosixPath) -> PurePosixPath:
    """Return the folder of the dataset that a medium belongs to."""
    for folder in path.parents:
        if folder.name.lower() in MEDIA_FOLDERS:
            return folder.parent
    return path.parent


def _is_checkpoint(path: PurePosixPath) -> bool:
    folders = [folder.lower() for folder in path.parts[:-1]]
    return (
        path.suffix.lower() == _WEIGHTS
        and bool({_OUTPUTS, _TO_RESUME} & set(folders))
        and not any(folder.endswith(_STATE) for folder in folders)
    )


def config_names(text: str, folder: str) -> bool:
    """Return whether a dataset's TOML names a dataset by its folder."""
    name = PurePosixPath(folder).name
    return any(name in PurePosixPath(line).parts for line in _quoted(text))


def _quoted(text: str) -> Iterator[str]:
    for line in text.splitlines():
        for quote in ('"', "'"):
            parts = line.split(quote)
            yield from parts[1::2]
