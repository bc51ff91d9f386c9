"""Explains, in plain words, operating-system errors about paths that the user named."""

import errno
import os
from collections.abc import Mapping
from pathlib import Path

from training.errors import TrainingError
from training.files.temporary import PARTIAL

_OTHER_PATH = "Give another path."
_MADE_ROOM = "Free some space or give a path on another disk, then try again."
_CHECKED = "Check the path, its permissions and the free disk space, then try again."
# The cause and the fix for each error number; `{}` stands for the path.
_KNOWN: Mapping[int, tuple[str, str]] = {
    errno.EEXIST: ("{} is a file, but a folder is needed there.", _OTHER_PATH),
    errno.ENOTDIR: ("A part of the path {} is a file, not a folder.", _OTHER_PATH),
    errno.EISDIR: ("{} is a folder, but a file is needed there.", "Give the path of a file."),
    errno.ENOENT: ("There is no {}.", "Check the path, or create its folder first."),
    errno.EACCES: (
        "You do not have permission to use {}.",
        "Change its permissions, or give another path.",
    ),
    errno.EPERM: ("The operating system does not permit this on {}.", _OTHER_PATH),
    errno.EROFS: ("{} is on a disk that cannot be written.", _OTHER_PATH),
    errno.ENOSPC: ("The disk is full; {} could not be written.", _MADE_ROOM),
    errno.EDQUOT: ("Your disk quota is used up; {} could not be written.", _MADE_ROOM),
    errno.EFBIG: ("{} is larger than its file system allows.", _MADE_ROOM),
    errno.ENAMETOOLONG: ("The name {} is too long.", "Give a shorter one."),
}


def system_error(error: OSError) -> TrainingError:
    """Return a `TrainingError` that explains `error` and says what to do about it."""
    path = _shown(error)
    if (known := _KNOWN.get(error.errno or 0)) is not None:
        cause, fix = known
        return TrainingError(cause.format(path), fix)
    reason = error.strerror or str(error)
    about = f" about {path}" if error.filename else ""
    return TrainingError(f"The system reported an error{about}: {reason}.", _CHECKED)


def _shown(error: OSError) -> str:
    """Return the error's path as the user knows it; "the file" if the error names no path."""
    if error.filename is None or isinstance(error.filename, int):
        return "the file"
    path = Path(os.fsdecode(error.filename))
    # A file has a temporary name until it is complete, so show its folder instead.
    return str(path.parent if PARTIAL in path.name else path)
