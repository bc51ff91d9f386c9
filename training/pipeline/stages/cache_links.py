"""The cache directories that a trainer reads: only links into the store.

musubi-tuner trains on every file in them.
"""

import logging
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from training.errors import StageError
from training.pipeline.stages.cache_making import is_complete
from training.remedies import ResumeRun

logger = logging.getLogger(__name__)


def assemble(folder: Path, files: Mapping[str, Path]) -> None:
    """Rebuild `folder` with a link at each place to its file in the store.

    Links are symbolic and relative: network volumes have no hard links, and the home may move.
    """
    fresh = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    for place, target in files.items():
        link = fresh / place
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(target, link.parent))
    shutil.rmtree(folder, ignore_errors=True)
    fresh.rename(folder)


def clean(folder: Path, places: set[str]) -> None:
    """Delete foreign files from the cache directories and check the rest.

    Raises:
        StageError: A file is missing or truncated.
    """
    for path in sorted(folder.glob("*/*")):
        if path.relative_to(folder).as_posix() not in places:
            _remove(path)
            logger.warning("removed %s: it is no item of the dataset", path)
    for place in sorted(places):
        if not is_complete(folder / place):
            raise StageError(
                f"The cache file {place} is missing or damaged.",
                "Resume the run; what is missing is cached again.",
                ResumeRun(),
            )


def _remove(path: Path) -> None:
    # The other expert's trainer may be faster.
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
