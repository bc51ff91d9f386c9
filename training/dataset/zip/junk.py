"""Finds the files that operating systems and programs leave in a zip, such as `.DS_Store`."""

from collections.abc import Iterable
from pathlib import PurePosixPath

from training.dataset.zip.member_names import CHECKPOINTS, JUNK_FOLDERS, RESOURCES
from training.dataset.zip.members import CAPTIONS, MEDIA

_JUNK_FILES = {"thumbs.db", "desktop.ini", "ehthumbs.db", "icon\r"}
_RESOURCE_FORK = "._"  # macOS stores the attributes of `a.png` in a file named `._a.png`
_CHECKPOINT = "-checkpoint"  # Jupyter copies `a.png` to `.ipynb_checkpoints/a-checkpoint.png`


def find_junk(paths: Iterable[PurePosixPath]) -> set[PurePosixPath]:
    """Return the files that a system or a program left in the zip.

    An image or clip with a caption is never junk, unless a program made it as a copy of another
    file in the zip.
    """
    known = set(paths)
    captioned = _captioned(known)
    return {
        path
        for path in known
        if _is_copy(path, known) or (path not in captioned and _looks_like_junk(path))
    }


def _captioned(paths: Iterable[PurePosixPath]) -> set[PurePosixPath]:
    """Return the images and clips that have a caption, together with their caption files."""
    stems: dict[PurePosixPath, list[PurePosixPath]] = {}
    captions = [path for path in paths if path.suffix.lower() in CAPTIONS]
    for path in captions:
        stems.setdefault(path.with_suffix(""), []).append(path)
    found: set[PurePosixPath] = set()
    for path in paths:
        if path.suffix.lower() in MEDIA:
            own = [*stems.get(path.with_suffix(""), ()), *stems.get(path, ())]
            found.update((path, *own) if own else ())
    return found


def _is_copy(path: PurePosixPath, known: set[PurePosixPath]) -> bool:
    if path.name.startswith(_RESOURCE_FORK):
        parts = [part for part in path.parts[:-1] if part.lower() != RESOURCES]
        return PurePosixPath(*parts, path.name.removeprefix(_RESOURCE_FORK)) in known
    if path.parent.name.lower() == CHECKPOINTS and path.stem.endswith(_CHECKPOINT):
        name = path.stem.removesuffix(_CHECKPOINT) + path.suffix
        return path.parent.parent / name in known
    return False


def _looks_like_junk(path: PurePosixPath) -> bool:
    name = path.name.lower()
    if {part.lower() for part in path.parts[:-1]} & JUNK_FOLDERS or name in _JUNK_FILES:
        return True
    return name.startswith(".") and path.suffix.lower() not in MEDIA
