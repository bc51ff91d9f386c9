"""What killed processes leave is deleted; what living ones are writing is not."""

import os
import signal
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from storage.local.leftovers import Leftovers
from storage.local.store import FolderStore
from training.files.atomic import (
    atomic_directory,
    atomic_file,
    atomic_path,
    atomic_symlink,
    link_or_copy,
)
from training.files.temporary import is_abandoned, owner_mark, partial_name, scratch_folder
from training.merge.output import exclusive
from training.pipeline.stages.cache_making import link_caches
from training.registry.staged import staging_folder

RUN = "guilds/1/runs/a"
LONG_AGO, SOON = datetime(2020, 1, 1, tzinfo=UTC), datetime.now(UTC) + timedelta(days=1)
Stop = Callable[[], None]


def instead(stop: Stop) -> Callable[..., None]:
    """Return what stands in for a function that a writer is stopped in."""

    def stand_in(*_arguments: object) -> None:
        stop()

    return stand_in


def write_a_file(home: Path, stop: Stop) -> None:
    with atomic_file(home / "models/a") as stream:
        stream.write(b"1")
        stream.flush()
        stop()


def write_a_path(home: Path, stop: Stop) -> None:
    with atomic_path(home / "models/a") as path:
        path.write_bytes(b"1")
        stop()


def write_a_folder(home: Path, stop: Stop) -> None:
    with atomic_directory(home / "models/a") as folder:
        (folder / "deep").mkdir()
        (folder / "deep/file").write_bytes(b"1")
        stop()


def write_a_record(home: Path, stop: Stop) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", instead(stop))
        FolderStore(home).write("models/a", b"1")


def delete_a_folder(home: Path, stop: Stop) -> None:
    (home / "models/a").mkdir()
    (home / "models/a/file").write_bytes(b"1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("storage.local.store.shutil.rmtree", instead(stop))
        FolderStore(home).delete("models/a")


def stage_a_folder(home: Path, stop: Stop) -> None:
    with staging_folder(FolderStore(home), "1") as folder:
        (folder / "file").write_bytes(b"1")
        stop()


def prepare(home: Path, stop: Stop) -> None:
    with scratch_folder("prepare", home / "guilds/1/prepared") as folder:
        (folder / "file").write_bytes(b"1")
        stop()


def merge(home: Path, stop: Stop) -> None:
    root = home / "merged/address/base.safetensors"
    with exclusive(root):
        partial = root.with_name(f".{root.name}.partial")
        partial.write_bytes(b"1")
        stop()
        partial.unlink()


def link(home: Path, stop: Stop) -> None:
    (home / "models/target").write_bytes(b"1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training.files.atomic.publish", instead(stop))
        link_or_copy(home / "models/target", home / "models/a")
    for partial in (home / "models").glob(".a*"):
        partial.unlink()
    (home / "models/target").unlink()


WRITERS: Mapping[str, Callable[[Path, Stop], None]] = {
    writer.__name__: writer
    for writer in (
        write_a_file,
        write_a_path,
        write_a_folder,
        write_a_record,
        delete_a_folder,
        stage_a_folder,
        prepare,
        merge,
    )
}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for folder in ("models", "guilds/1/prepared", f"{RUN}/inputs", "open"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / RUN / "spec.json").write_bytes(b"{}")
    return tmp_path


def files(home: Path) -> set[str]:
    found = (path for path in home.rglob("*") if not path.is_dir() or path.is_symlink())
    return {path.relative_to(home).as_posix() for path in found}


@contextmanager
def killed_in(act: Callable[[Stop], None]) -> Generator[None]:
    """Run `act` in a process of its own that is killed where `act` calls what it is given.

    Until the end of the context, nobody has waited for that process.
    """
    child = os.fork()
    if child == 0:
        act(lambda: os.kill(os.getpid(), signal.SIGKILL))
        os._exit(0)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    yield
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL


def kill_in(act: Callable[[Stop], None]) -> None:
    with killed_in(act):
        pass


@pytest.mark.parametrize("writer", WRITERS)
def test_what_a_killed_writer_leaves_is_deleted_at_once(home: Path, writer: str) -> None:
    before = files(home)

    kill_in(lambda stop: WRITERS[writer](home, stop))
    left = files(home) - before
    freed = Leftovers(home).sweep_often()

    assert left
    assert files(home) == before
    assert freed > 0


def test_a_killed_writer_that_nobody_has_waited_for_is_gone(home: Path) -> None:
    before = files(home)

    with killed_in(lambda stop: write_a_file(home, stop)):
        left = files(home) - before
        Leftovers(home).sweep_often()

        assert left
        assert files(home) == before


@pytest.mark.parametrize("writer", WRITERS)
def test_what_a_living_writer_is_writing_stays(home: Path, writer: str) -> None:
    freed = list[int]()

    def sweep() -> None:
        freed.append(Leftovers(home).sweep(SOON))

    WRITERS[writer](home, sweep)

    assert set(freed) == {0}


def test_what_an_open_run_left_stays_until_it_has_ended(home: Path) -> None:
    run, before = home / RUN, files(home)
    (home / "open/1~a").touch()
    (run / "caching/latents/cache").mkdir(parents=True)
    (run / "caching/latents/cache/x.safetensors").write_bytes(b"1")
    (run / "checkpoints").mkdir()
    (run / "checkpoints/.a.partial").write_bytes(b"1")
    (run / "checkpoints/a.safetensors").write_bytes(b"1")

    open_freed = Leftovers(home).sweep(LONG_AGO)
    (home / "open/1~a").unlink()
    ended_freed = Leftovers(home).sweep_run("1", "a")

    assert (open_freed, ended_freed) == (0, 2)
    assert files(home) - before == {f"{RUN}/checkpoints/a.safetensors"}


@pytest.mark.parametrize("name", [".tmp", ".incoming", ".lorabot-x"])
def test_a_home_may_have_any_name(tmp_path: Path, name: str) -> None:
    FolderStore(tmp_path / name).write("models/a", b"1")

    assert Leftovers(tmp_path / name).sweep(SOON) == 0


def test_links_that_were_being_made_are_deleted(home: Path) -> None:
    (home / "open/1~a").touch()
    before = files(home)

    def make(stop: Stop) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Path, "rename", instead(stop))
            link_caches(home / RUN / "inputs/caches", {"g/a": home / "models/a"})

    kill_in(make)
    Leftovers(home).sweep(LONG_AGO)

    assert files(home) == before


@pytest.mark.parametrize("name", [".a.0123456789abcdef.partial", ".a.p1-2-3.partial"])
def test_what_belongs_to_nobody_known_is_deleted_when_it_is_old(home: Path, name: str) -> None:
    (home / "models" / name).write_bytes(b"1")

    freed = [Leftovers(home).sweep_often()]
    freed += [Leftovers(home).sweep(before) for before in (LONG_AGO, SOON)]

    assert freed == [0, 0, 1]


def test_scratch_of_killed_processes_is_deleted_by_the_next_one(tmp_path: Path) -> None:
    def work(stop: Stop) -> None:
        with scratch_folder("dataset", tmp_path) as folder:
            (folder / "clip").write_bytes(b"1")
            stop()

    kill_in(work)
    left = list(tmp_path.iterdir())
    with scratch_folder("dataset", tmp_path) as mine:
        there = list(tmp_path.iterdir())

    assert len(left) == 1
    assert there == [mine]


def test_names_tell_their_owner(tmp_path: Path) -> None:
    told = list[str]()
    read, write = os.pipe()

    def tell(stop: Stop) -> None:
        os.write(write, partial_name("a").encode())
        stop()

    kill_in(tell)
    told.append(os.read(read, 1000).decode())
    for fd in (read, write):
        os.close(fd)

    assert [is_abandoned(name) for name in (*told, f".a.{owner_mark()}.partial", "a")] == [
        True,
        False,
        None,
    ]


def test_a_link_is_never_seen_half_made(home: Path) -> None:
    before = files(home)
    kill_in(lambda stop: link(home, stop))
    (home / "models/target").unlink()
    atomic_symlink(home / "models/link", "elsewhere")
    Leftovers(home).sweep_often()

    assert files(home) - before == {"models/link"}
