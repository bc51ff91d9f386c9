"""A `Store` in a local folder."""

import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from storage.keys import checked
from training.files.atomic import atomic_write, sync_directory
from training.ports import StoredFile, unwatched


class FolderStore:
    """Keys are paths below one folder; a write is complete or absent."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        self._temporary.mkdir(parents=True, exist_ok=True)

    @property
    def _temporary(self) -> Path:
        # On the same file system as the keys, so that renames are atomic.
        return self._root / ".tmp"

    def path(self, key: str) -> Path:
        return self._root / checked(key)

    def read(self, key: str) -> bytes:
        return self.path(key).read_bytes()

    def write(self, key: str, data: bytes) -> None:
        target = self._target(key)
        temporary = self._write_temporary(data)
        temporary.replace(target)
        sync_directory(target.parent)

    def create(self, key: str, data: bytes) -> bool:
        target = self._target(key)
        temporary = self._write_temporary(data)
        try:
            # A hard link fails where a rename would replace, so only one of two writers wins.
            target.hardlink_to(temporary)
        except FileExistsError:
            return False
        finally:
            temporary.unlink()
        sync_directory(target.parent)
        return True

    def append(self, key: str, data: bytes) -> None:
        with self._target(key).open("ab+") as file:
            file.seek(0)
            complete = file.read().rfind(b"\n") + 1
            file.truncate(complete)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    def exists(self, key: str) -> bool:
        return self.path(key).exists()

    def names(self, prefix: str) -> list[str]:
        folder = self.path(prefix)
        return sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []

    def read_all(self, prefix: str) -> dict[str, bytes]:
        folder = self.path(prefix)
        files = sorted(folder.iterdir()) if folder.is_dir() else []
        return {file.name: file.read_bytes() for file in files if file.is_file()}

    def walk(self, prefix: str) -> Iterator[StoredFile]:
        for path in self.path(prefix).rglob("*"):
            if path.is_file() and not path.is_symlink():
                yield _stored(path.relative_to(self._root).as_posix(), path)

    def sweep(self, before: datetime) -> int:
        freed = 0
        for path in self._temporary.iterdir():
            files = [path, *path.rglob("*")] if path.is_dir() else [path]
            found = [_stored(file.name, file) for file in files]
            if all(file.written_at < before for file in found):
                freed += sum(f.size_bytes for f in found)
                _remove(path)
        return freed

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

    def refresh(self, key: str) -> None:
        """Do nothing: changes by others are visible at once."""

    def staging_path(self, key: str) -> Path:
        """Return the final path of `key`; writers make it appear only when complete."""
        return self.path(key)

    def keep(self, *keys: str) -> None:
        """Do nothing: staged files are already in place."""

    def put_tree(self, key: str, source: Path) -> bool:
        target = self._target(key)
        try:
            source.rename(target)  # fails if the target folder is not empty
        except OSError:
            if target.is_dir():
                return False
            raise
        sync_directory(target.parent)
        return True

    def delete(self, key: str) -> None:
        target = self.path(key)
        if target.is_dir():
            # Renamed first, so that a reader sees all of the folder or nothing.
            aside = Path(tempfile.mkdtemp(dir=self._temporary))
            with suppress(FileNotFoundError):  # somebody else is removing it too
                target.rename(aside / target.name)
            shutil.rmtree(aside)
        else:
            target.unlink(missing_ok=True)

    def _target(self, key: str) -> Path:
        target = self.path(key)
        target.parent.mkdir(parents=True, exist_ok=True)
        return target

    def _write_temporary(self, data: bytes) -> Path:
        path = self._temporary / uuid.uuid4().hex
        atomic_write(path, data)
        path.chmod(0o600)  # a home may lie on a machine that others use
        return path


def _stored(key: str, path: Path) -> StoredFile:
    facts = path.stat()
    size_bytes = facts.st_size if path.is_file() else 0
    return StoredFile(key, size_bytes, datetime.fromtimestamp(facts.st_mtime, UTC))


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
