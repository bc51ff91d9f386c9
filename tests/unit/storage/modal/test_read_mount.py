"""Reading a mount in parts: what a reload waits for, and what a change does to a reader."""

import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from storage.modal.read_mount import ReadMount
from training.ports import FileChangedError

KEY = "guilds/1/runs/a/checkpoints/main/a.safetensors"
AT = 1_800_000_000


@dataclass
class Entry:
    """A file as a listing shows it."""

    path: str
    size: int
    mtime: int = AT
    type: int = 1


@dataclass
class Volume:
    """Committed files, and a mount that shows them after a reload."""

    committed: Path
    folder: Path
    reloads: int = 0
    shift_seconds: int = 0
    on_reload: Callable[[], None] = field(default=lambda: None)

    def commit(self, data: bytes, at: int = AT) -> Entry:
        path = self.committed / KEY
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        os.utime(path, (at, at))
        return Entry(KEY, len(data), at)

    def reload(self) -> None:
        """Show what is committed; meanwhile the mount is empty, as on Modal."""
        opened = [file.path for file in psutil.Process().open_files()]
        assert not [path for path in opened if Path(path).is_relative_to(self.folder)]
        self.reloads += 1
        shutil.rmtree(self.folder, ignore_errors=True)
        self.on_reload()
        shutil.copytree(self.committed, self.folder)
        for path in self.folder.rglob("*.safetensors"):
            at = path.stat().st_mtime + self.shift_seconds
            os.utime(path, (at, at))


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    (tmp_path / "committed").mkdir()
    return Volume(tmp_path / "committed", tmp_path / "mount")


@pytest.fixture
def mount(volume: Volume) -> ReadMount:
    return ReadMount(volume.folder, volume.reload)


def test_a_new_file_is_shown_after_one_reload(volume: Volume, mount: ReadMount) -> None:
    entry = volume.commit(b"weights")

    readers = [mount.reader(KEY, entry) for _ in range(3)]

    assert [reader.read(1, 3) for reader in readers] == [b"eig"] * 3
    assert volume.reloads == 1


def test_a_newer_version_of_the_same_size_is_shown(volume: Volume, mount: ReadMount) -> None:
    mount.reader(KEY, volume.commit(b"first!"))

    reader = mount.reader(KEY, volume.commit(b"second", AT + 5))

    assert reader.read(0, 6) == b"second"


def test_a_mount_with_times_of_its_own_is_reloaded_once_for_each_version(
    volume: Volume, mount: ReadMount
) -> None:
    volume.shift_seconds = -7
    entry = volume.commit(b"weights")

    for _ in range(3):
        mount.reader(KEY, entry)

    assert volume.reloads == 1


def test_a_file_is_open_only_while_a_part_is_read(volume: Volume, mount: ReadMount) -> None:
    reader = mount.reader(KEY, volume.commit(bytes(1000)))
    reader.read(0, 500)

    volume.reload()  # fails if a file is open

    assert reader.open() is None
    assert reader.read(500, 1000) == bytes(500)


def test_a_read_waits_for_a_reload(volume: Volume, mount: ReadMount) -> None:
    first = mount.reader(KEY, volume.commit(b"weights"))
    read: list[bytes] = []
    waiting = threading.Thread(target=lambda: read.append(first.read(0, 7)))

    def begin_reading() -> None:
        waiting.start()
        waiting.join(0.2)  # it would find an empty mount
        assert waiting.is_alive()

    volume.on_reload = begin_reading
    again = Entry(f"{KEY}.json", 0)
    (volume.committed / f"{KEY}.json").write_bytes(b"")

    mount.reader(again.path, again)
    waiting.join()

    assert read == [b"weights"]


@pytest.mark.parametrize("data", [b"rewrite", b"another size"])
def test_a_replaced_file_is_never_joined_with_what_was_read(
    volume: Volume, mount: ReadMount, data: bytes
) -> None:
    reader = mount.reader(KEY, volume.commit(b"weights"))
    reader.read(0, 3)

    mount.reader(KEY, volume.commit(data, AT + 9))

    with pytest.raises(FileChangedError, match="replaced"):
        reader.read(3, 4)


def test_a_removed_file_ends_its_readers(volume: Volume, mount: ReadMount) -> None:
    reader = mount.reader(KEY, volume.commit(b"weights"))
    (volume.committed / KEY).unlink()

    volume.reload()

    with pytest.raises(FileChangedError, match="removed"):
        reader.read(0, 7)


def test_a_version_that_the_mount_never_shows_is_not_replaced_by_another(
    volume: Volume, mount: ReadMount
) -> None:
    volume.commit(b"weights")

    with pytest.raises(ConnectionError, match="does not show"):
        mount.reader(KEY, Entry(KEY, 1000, AT + 1))
