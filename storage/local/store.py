"""A `Store` in a local folder."""

import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from storage.keys import checked
from storage.local.leftovers import TEMPORARY, Leftovers
from storage.local.path_reader import PathReader
from training import store_keys
from training.files.atomic import (
    atomic_write,
    make_directory,
    make_way,
    patiently,
    publish,
    sync_directory,
    sync_tree,
)
from training.files.disk_space import is_full
from training.files.locks import open_alone
from training.files.temporary import owner_mark
from training.ports import NOTHING, StoreChanges, StoredFile, unwatched


class FolderStore:
    """Keys are paths below one folder; each write appears completely or not at all."""

    write_seconds = 0.0

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()

    @property
    def _temporary(self) -> Path:
        # This folder is on the same file system as the keys, so that renames are atomic.
        return self._root / TEMPORARY

    def _made_temporary(self) -> Path:
        self._temporary.mkdir(parents=True, exist_ok=True)
        return self._temporary

    def path(self, key: str) -> Path:
        return self._root / checked(key)

    def read(self, key: str) -> bytes:
        try:
            return self.path(key).read_bytes()
        except IsADirectoryError as error:
            raise FileNotFoundError(key) from error

    def write(self, key: str, data: bytes) -> None:
        target = self._target(key)
        publish(self._write_temporary(data), target)

    def create(self, key: str, data: bytes, others: Mapping[str, bytes] = NOTHING) -> bool:
        target = self._target(key)
        if not others:
            return self._create(target, data)
        lock = target.with_name(f".{target.name}.lock")
        try:
            with open_alone(lock):  # only the caller that creates `key` may write `others`
                if target.is_file():
                    return False
                self.change(StoreChanges(written=others))
                return self._create(target, data)
        finally:
            # Every caller deletes the lock file, because a late caller may have created it again.
            if target.is_file():
                with suppress(PermissionError):  # on Windows: another process waits for the lock
                    lock.unlink(missing_ok=True)

    def _create(self, target: Path, data: bytes) -> bool:
        make_way(target)
        temporary = self._write_temporary(data)
        try:
            # Only one of two writers wins: a hard link fails if the file exists, whereas a rename
            # would replace the file.
            target.hardlink_to(temporary)
        except FileExistsError:
            return False
        finally:
            temporary.unlink()
        sync_directory(target.parent)
        return True

    def append(self, key: str, data: bytes) -> None:
        target = self._target(key)
        make_way(target)
        is_new = not target.exists()
        with target.open("ab+", buffering=0) as file:
            file.seek(0)
            complete = file.read().rfind(b"\n") + 1
            file.truncate(complete)
            try:
                _write_all(file.fileno(), data)
                os.fsync(file.fileno())
            except OSError:
                # The caller may append the lines again, so leave none of them.
                file.truncate(complete)
                if is_new:
                    target.unlink()
                raise
        if is_new:
            sync_directory(target.parent)

    def exists(self, key: str) -> bool:
        return self.path(key).exists()

    def names(self, prefix: str) -> list[str]:
        folder = self.path(prefix)
        return sorted(os.listdir(folder)) if folder.is_dir() else []  # noqa: PTH208  # many names

    def read_all(self, prefix: str) -> dict[str, bytes]:
        folder = self.path(prefix)
        if not folder.is_dir():
            return {}
        sizes = _sizes(folder)
        while (again := _sizes(folder)) != sizes:
            sizes = again
        found = {name: (folder / name).read_bytes() for name in sorted(sizes)}
        return {
            name: data[: sizes[name]] if name.endswith(store_keys.LINES) else data
            for name, data in found.items()
        }

    def walk(self, prefix: str) -> Iterator[StoredFile]:
        # Unlike rglob, os.walk continues if somebody deletes a folder before it is listed.
        for folder, _, names in os.walk(self.path(prefix)):
            for path in (Path(folder, name) for name in names):
                found = None
                with suppress(FileNotFoundError):
                    if path.is_file() and not path.is_symlink():
                        found = _stored(path.relative_to(self._root).as_posix(), path)
                if found is not None:
                    yield found

    def sweep(self, before: datetime) -> int:
        return Leftovers(self._root).sweep(before)

    def fetch(
        self,
        key: str,
        watch: Callable[[int], None] = unwatched,  # noqa: ARG002
    ) -> Path:
        """Return the stored file itself; nothing is copied."""
        path = self.path(key)
        if not path.is_file() or path.is_symlink():
            raise FileNotFoundError(key)
        return path

    def reader(self, key: str) -> PathReader:
        return PathReader.of(self.fetch(key))

    def refresh(self, key: str) -> None:
        """Do nothing: files that other processes store are visible at once."""

    def staging_path(self, key: str) -> Path:
        """Return the final path of `key`; a writer may only move a complete file there."""
        return self.path(key)

    def keep(self, *keys: str) -> None:
        """Do nothing: staged files are already in place."""

    def upload(self, *keys: str) -> None:
        """Do nothing: staged files are already in place."""

    def change(self, changes: StoreChanges) -> None:
        """Make the changes one by one, because single writes are fast here."""
        for key, data in changes.written.items():
            self.write(key, data)
        for key, lines in changes.appended.items():
            self.append(key, lines)
        for key in changes.deleted:
            self.delete(key)

    def put_tree(self, key: str, source: Path) -> bool:
        target = self._target(key)
        sync_tree(source)
        try:
            patiently(lambda: source.rename(target))  # fails if the target folder is not empty
        except OSError:
            if target.is_dir():
                return False
            raise
        sync_directory(target.parent)
        return True

    def delete(self, key: str) -> None:
        target = self.path(key)
        if target.is_dir():
            # Rename the folder before deleting it, so that a reader sees all of it or nothing.
            try:
                made = self._made_temporary()
                aside = Path(tempfile.mkdtemp(prefix=f"{owner_mark()}-", dir=made))
            except OSError as error:
                if not is_full(error):
                    raise
                shutil.rmtree(target)
                return
            with suppress(FileNotFoundError):  # somebody else is removing it too
                patiently(lambda: target.rename(aside / target.name))
            shutil.rmtree(aside)
        else:
            target.unlink(missing_ok=True)

    def _target(self, key: str) -> Path:
        target = self.path(key)
        make_directory(target.parent)
        return target

    def _write_temporary(self, data: bytes) -> Path:
        path = self._made_temporary() / f"{owner_mark()}-{uuid.uuid4().hex}"
        atomic_write(path, data)
        path.chmod(0o600)  # other users of the machine must not read it
        return path


def _write_all(fd: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(fd, left) :]


def _sizes(folder: Path) -> dict[str, int]:
    """Return the size of every file directly in a folder, by name."""
    with os.scandir(folder) as entries:
        return {entry.name: entry.stat().st_size for entry in entries if entry.is_file()}


def _stored(key: str, path: Path) -> StoredFile:
    facts = path.stat()
    size_bytes = facts.st_size if path.is_file() else 0
    return StoredFile(key, size_bytes, datetime.fromtimestamp(facts.st_mtime, UTC))
