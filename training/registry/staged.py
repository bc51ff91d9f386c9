"""Makes staging folders, whose content is stored atomically once it is complete."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from training.files.temporary import scratch_folder
from training.ports import Store


@contextmanager
def staging_folder(store: Store, guild: str) -> Generator[Path]:
    """Yield an empty folder to fill and store with `store.put_tree`; delete it at the end."""
    parent = store.staging_path(f"guilds/{guild}/.incoming")
    parent.mkdir(parents=True, exist_ok=True)
    with scratch_folder("incoming", parent) as folder:
        yield folder
