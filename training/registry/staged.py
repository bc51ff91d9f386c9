"""Stores a folder whole or not at all."""

import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from training.ports import Store


@contextmanager
def staging_folder(store: Store, guild: str) -> Generator[Path]:
    """Yield an empty folder that `store.put_tree` can rename into place; it is removed later."""
    parent = store.staging_path(f"guilds/{guild}/.incoming")
    parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
