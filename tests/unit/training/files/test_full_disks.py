"""What waits while a disk is full, and what is said about it."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from storage.local.store import FolderStore
from tests.pipeline.disk import crowded, disk_with_quota, filled, small_disk
from training.files.disk_space import shortage, when_room
from training.files.patient_file import PatientFile

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a disk needs root")
FULL = OSError(errno.ENOSPC, "No space left on device")
QUOTA = OSError(errno.EDQUOT, "Disk quota exceeded")


def failing(*errors: OSError) -> Callable[[], str]:
    """Return a write that fails with each of the errors, and then succeeds."""
    left = list(errors)

    def write() -> str:
        if left:
            raise left.pop(0)
        return "written"

    return write


def test_a_write_waits_for_room_on_the_disk_or_in_the_quota() -> None:
    pauses = list[float]()

    done = when_room(failing(FULL, QUOTA), patience_seconds=60, pause=pauses.append)

    assert done == "written"
    assert len(pauses) == 2


@pytest.mark.parametrize(
    ("error", "patience_seconds", "must_stop"),
    [(OSError(errno.EIO, "broken"), 60, False), (FULL, 0, False), (FULL, 60, True)],
)
def test_it_does_not_wait_in_vain(error: OSError, patience_seconds: float, must_stop: bool) -> None:
    with pytest.raises(OSError, match=error.strerror or ""):
        when_room(failing(error), patience_seconds=patience_seconds, pause=lambda _s: must_stop)


@needs_root
def test_a_patient_file_loses_nothing_while_the_disk_is_full(tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    with small_disk(folder, "64k"):
        file, path = PatientFile(folder / "metrics"), folder / "metrics"
        file.write(b"1\n")
        with filled(folder):
            for number in range(2, 3000):
                file.write(b"%d\n" % number)
            short = path.stat().st_size
            with pytest.raises(OSError, match="No space"):
                file.flush()
        file.close()

        assert path.read_bytes() == b"".join(b"%d\n" % number for number in range(1, 3000))
        assert short < path.stat().st_size


@needs_root
def test_a_log_drops_its_oldest_lines_rather_than_grow_in_memory(tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    with small_disk(folder, "64k", files=4):
        file = PatientFile(folder / "log", most_bytes=4)
        with crowded(folder):
            file.write(b"old")
            file.write(b"new")
            assert not (folder / "log").exists()
        file.close()

        assert (folder / "log").read_bytes() == b"dnew"


@needs_root
def test_a_shortage_of_bytes_or_files_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    with small_disk(folder, "256k", files=8):
        before = shortage(folder)
        with filled(folder):
            of_bytes = shortage(folder)
        with crowded(folder):
            of_files = shortage(folder)

    assert (before, shortage(tmp_path / "none")) == (None, None)
    assert "disk is full" in (of_bytes or "")
    assert "cannot hold more files" in (of_files or "")


@needs_root
@pytest.mark.skipif(shutil.which("mkfs.btrfs") is None, reason="a quota needs mkfs.btrfs")
def test_a_used_up_quota_is_named_and_found_out_without_leaving_a_file(tmp_path: Path) -> None:
    folder = tmp_path / "disk" / "home"
    with disk_with_quota(folder, "4M"):
        before = shortage(folder)
        with filled(folder):
            used_up, left = shortage(folder), os.listdir(folder)  # noqa: PTH208
        after = shortage(folder)

    assert (before, after) == (None, None)
    assert "quota is used up" in (used_up or "")
    assert left == ["filler"]


@needs_root
def test_lines_that_do_not_fit_are_appended_not_at_all(tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    with small_disk(folder, "128k"):
        store = FolderStore(folder)
        store.append("guilds/1/runs/a/events/train-1.jsonl", b"1\n")
        with filled(folder):
            for key in ("train-1", "train-2"):
                with pytest.raises(OSError, match="No space"):
                    store.append(f"guilds/1/runs/a/events/{key}.jsonl", b"2\n" * 50_000)
            names = store.names("guilds/1/runs/a/events")
        store.append("guilds/1/runs/a/events/train-1.jsonl", b"3\n")

        assert names == ["train-1.jsonl"]
        assert store.read("guilds/1/runs/a/events/train-1.jsonl") == b"1\n3\n"
