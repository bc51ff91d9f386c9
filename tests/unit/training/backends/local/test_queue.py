"""The queue of one machine in trouble: only damage makes it start again."""

import errno
import fcntl
import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Generator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.at_once import at_once
from tests.pipeline.disk import filled, small_disk
from training.backends.local.queue import LocalBackend
from training.ports import Call, CallState, CallStatus
from training.vocabulary import StageKey

KEY = StageKey("train", "main")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a disk needs root")


def call(run: str = "a") -> Call:
    return Call(guild="1", run=run, key=KEY, attempt=1, device="gpu")


def backend_in(folder: Path, patience_seconds: float = 0.1) -> LocalBackend:
    return LocalBackend(folder, lambda: None, patience_seconds=patience_seconds)


@pytest.fixture
def backend(tmp_path: Path) -> LocalBackend:
    return backend_in(tmp_path)


@contextmanager
def running(backend: LocalBackend, run: str = "a") -> Generator[str]:
    """Submit a call and keep its lock as its process does; yield its handle."""
    handle = backend.submit(call(run))
    with backend.lock_file(int(handle)).open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        backend.mark_running(int(handle), pid=4_000_000)
        yield handle


def damaged(folder: Path) -> list[Path]:
    return sorted(folder.glob("queue-damaged-*.sqlite"))


def garble(folder: Path) -> None:
    file = folder / "queue.sqlite"
    file.write_bytes(b"garbage" * (file.stat().st_size // 7))


def cut(folder: Path) -> None:
    file = folder / "queue.sqlite"
    os.truncate(file, file.stat().st_size - 4096)


def flip_name(folder: Path) -> None:
    file = folder / "queue.sqlite"
    content = bytearray(file.read_bytes())
    content[content.rindex(b"1/a/train-main")] ^= 0x80  # no longer UTF-8
    file.write_bytes(content)


def flip_status(folder: Path) -> None:
    file = folder / "queue.sqlite"
    file.write_bytes(file.read_bytes().replace(b"gpurunning", b"gpurunninf"))


def empty(folder: Path) -> None:
    os.truncate(folder / "queue.sqlite", 0)


def test_a_locked_queue_is_not_damaged(backend: LocalBackend, tmp_path: Path) -> None:
    with running(backend) as handle, closing(sqlite3.connect(tmp_path / "queue.sqlite")) as other:
        other.execute("begin exclusive")

        for use in (
            backend.running,
            partial(backend.state, handle),
            partial(backend.submit, call()),
        ):
            with pytest.raises(OSError, match="locked") as raised:
                use()
            assert raised.value.errno == errno.EBUSY

        other.rollback()
        assert backend_in(tmp_path).state(handle) == CallState(CallStatus.RUNNING)
    assert not damaged(tmp_path)


def test_a_queue_that_cannot_be_opened_is_not_damaged(
    backend: LocalBackend, tmp_path: Path
) -> None:
    handle = backend.submit(call())
    file = tmp_path / "queue.sqlite"
    file.rename(tmp_path / "away")
    file.mkdir()
    (file / "full").touch()

    with pytest.raises(OSError, match="unable to open"):
        backend_in(tmp_path).state(handle)
    with pytest.raises(OSError, match="unable to open"):
        backend_in(tmp_path).submit(call("b"))

    assert not damaged(tmp_path)


@needs_root
def test_a_full_disk_is_not_damage(tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    with small_disk(folder, "64k"):
        backend = backend_in(folder)
        with running(backend) as handle:
            with filled(folder):
                with pytest.raises(OSError, match="full") as raised:
                    backend.submit(call("b" * 20_000))

                assert raised.value.errno == errno.ENOSPC
                assert backend.state(handle) == CallState(CallStatus.RUNNING)
                assert [queued.call for queued in backend.running()] == [call()]
            assert backend.submit(call("b"))
        assert not damaged(folder)


@needs_root
def test_a_queue_on_a_read_only_disk_can_be_read(tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    with small_disk(folder, "1m"):
        handle = backend_in(folder).submit(call())
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)

        assert backend_in(folder).state(handle) == CallState(CallStatus.QUEUED, position=1)
        with pytest.raises(OSError, match="readonly"):
            backend_in(folder).submit(call("b"))


def test_reading_creates_nothing(tmp_path: Path) -> None:
    backend = backend_in(tmp_path / "local")

    assert backend.state("7") == CallState(CallStatus.GONE)
    assert backend.is_idle()
    assert not list(tmp_path.iterdir())


def test_reading_changes_nothing(backend: LocalBackend, tmp_path: Path) -> None:
    with running(backend) as handle:
        before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in tmp_path.iterdir()}

        backend_in(tmp_path).state(handle)
        backend_in(tmp_path).running()

        assert before == {
            path: (path.stat().st_mtime_ns, path.read_bytes()) for path in tmp_path.iterdir()
        }


@pytest.mark.parametrize("harm", [garble, cut, flip_name, flip_status, empty])
def test_a_damaged_queue_loses_no_running_call(
    backend: LocalBackend, tmp_path: Path, harm: partial[None]
) -> None:
    with running(backend) as handle:
        harm(tmp_path)

        assert backend.state(handle).status is CallStatus.RUNNING
        backend.check()

        assert [queued.number for queued in backend.running()] == [int(handle)]
        assert [queued.call for queued in backend.running()] == [call()]
    assert backend.state(handle).status is CallStatus.ENDED
    assert len(damaged(tmp_path)) == (harm is not empty)


def test_two_processes_that_find_a_damaged_queue_replace_it_once(
    backend: LocalBackend, tmp_path: Path
) -> None:
    backend.submit(call())
    garble(tmp_path)

    at_once([partial(backend_in(tmp_path, 60).submit, call(run)) for run in "abcdefgh"])

    assert len(damaged(tmp_path)) == 1
    positions = [backend.state(backend.submit(call(run))).position for run in "abcdefgh"]
    assert sorted(filter(None, positions)) == list(range(1, 9))


def test_a_new_queue_reuses_no_number_of_the_old_one(backend: LocalBackend, tmp_path: Path) -> None:
    old = backend.submit(call())
    garble(tmp_path)

    new = backend.submit(call("b"))

    assert new != old
    assert backend.state(old).status is CallStatus.GONE


_KILLED_IN_A_TRANSACTION = """
import os, signal, sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("pragma cache_size = 1")
database.execute("begin immediate")
database.execute("update calls set run = ?", ("x" * 200_000,))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_transaction_changes_nothing(backend: LocalBackend, tmp_path: Path) -> None:
    handle = backend.submit(call())
    command = [sys.executable, "-c", _KILLED_IN_A_TRANSACTION, str(tmp_path / "queue.sqlite")]
    subprocess.run(command, check=False)
    assert stat.S_ISREG((tmp_path / "queue.sqlite-journal").stat().st_mode)

    assert backend.state(handle) == CallState(CallStatus.QUEUED, position=1)
    assert backend.call(int(handle)) == call()
    assert not damaged(tmp_path)
