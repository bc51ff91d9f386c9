"""A store whose programs work on another disk than the one it stores on, as on Modal."""

import shutil
import threading
from dataclasses import replace
from pathlib import Path

from training.ports import Store, StoreChanges


class SeparateDisk:
    """A store whose programs work on another disk, and that is slow to copy a state."""

    def __init__(self, store: Store, disk: Path, seconds: float) -> None:
        self._store, self._disk, self._seconds = store, disk, seconds
        self.states: list[str] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    def staging_path(self, key: str) -> Path:
        return self._disk / key

    def keep(self, *keys: str) -> None:
        self.change(StoreChanges(kept=keys))

    def change(self, changes: StoreChanges) -> None:
        for key in changes.kept:
            made = self.staging_path(key)
            if made.is_dir():
                self._keep_state(key, made)
            elif made.exists():
                self._store.path(key).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(made, self._store.path(key))
        self._store.change(replace(changes, kept=()))
        for key in changes.deleted:
            shutil.rmtree(self.staging_path(key), ignore_errors=True)

    def _keep_state(self, key: str, made: Path) -> None:
        self.states.append(made.name)
        copy = self._store.path(key)
        copy.mkdir(parents=True)
        for file in sorted(made.iterdir()):
            threading.Event().wait(self._seconds)
            shutil.copyfile(file, copy / file.name)
