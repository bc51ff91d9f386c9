"""Volumes: private views, commits, reloads, and the API beside them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import modal
import pytest

from tests.wire.modal.lookup import deployed
from tests.wire.modal.loopback.api import Loopback

APP = """
import mmap
import os
import time
from pathlib import Path

import modal

app = modal.App("files", image=modal.Image.debian_slim(python_version="3.11"))
volume = modal.Volume.from_name("data", create_if_missing=True)
other = modal.Volume.from_name("other", create_if_missing=True)
DATA = Path(os.environ.get("LORABOT_MOUNT_ROOT", "/")) / "mnt/data"

def act(steps):
    seen = []
    for step, *arguments in steps:
        if step == "write":
            (DATA / arguments[0]).parent.mkdir(parents=True, exist_ok=True)
            (DATA / arguments[0]).write_text(arguments[1])
        elif step == "patch":  # in place
            with (DATA / arguments[0]).open("r+b") as file:
                file.write(arguments[1].encode())
        elif step == "read":
            path = DATA / arguments[0]
            seen.append(path.read_text() if path.exists() else None)
        elif step == "delete":
            (DATA / arguments[0]).unlink()
        elif step == "commit":
            volume.commit()
        elif step == "reload":
            volume.reload()
        elif step == "hold":
            act.held = (DATA / arguments[0]).open()
        elif step == "map":
            with (DATA / arguments[0]).open("rb") as file:
                act.held = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        elif step == "enter":
            os.chdir(DATA)
        elif step == "die":
            os._exit(3)
    return seen

@app.function(volumes={"/mnt/data": volume}, single_use_containers=True)
def once(*steps):
    return act(steps)

@app.cls(volumes={"/mnt/data": volume}, max_containers=1)
class Kept:
    @modal.method()
    def do(self, *steps):
        return act(steps)

@app.function(volumes={"/mnt/data": volume.with_mount_options(read_only=True)})
def read_only(*steps):
    return act(steps)

@app.function(volumes={"/mnt/data": volume.with_mount_options(sub_path="inner")})
def inner(*steps):
    return act(steps)

@app.function()
def without(*steps):
    return act(steps)
"""


class Files:
    """The deployed app."""

    def __init__(self, loopback: Loopback) -> None:
        self.loopback = loopback
        self.volume = modal.Volume.from_name("data")
        kept: Any = modal.Cls.from_name("files", "Kept")
        self._kept = kept()

    def once(self, *steps: tuple[str, ...], function: str = "once") -> list[str | None]:
        """Do steps in a new container."""
        return deployed("files", function).remote(*steps)

    def kept(self, *steps: tuple[str, ...]) -> list[str | None]:
        """Do steps in a container that stays."""
        return self._kept.do.remote(*steps)

    def committed(self, path: str) -> bytes:
        """Read a file through the API."""
        return b"".join(self.volume.read_file(path))


@pytest.fixture(scope="module")
def app(shared: Loopback, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("app") / "files_app.py"
    path.write_text(APP)
    shared.settings.idle_seconds = 60
    shared.deploy(path)


@pytest.fixture
def files(shared: Loopback, app: None) -> Iterator[Files]:
    """The app with empty volumes and without containers."""
    for path in modal.Volume.from_name("data").listdir("/"):
        modal.Volume.from_name("data").remove_file(path.path, recursive=True)
    yield Files(shared)
    shared.set_volume_limit("data", None)
    shared.settings.background_commit_seconds = None
    for container in shared.containers():
        shared.kill(container)
    shared.wait_for(lambda: not shared.plane.scheduler.living_all())


def test_others_see_a_commit_only_after_they_reload(files: Files) -> None:
    assert files.kept(("read", "a")) == [None]

    files.once(("write", "a", "first"), ("commit",))

    assert files.kept(("read", "a")) == [None]
    assert files.kept(("reload",), ("read", "a")) == ["first"]


def test_writes_show_at_the_latest_when_their_container_ends(files: Files) -> None:
    files.once(("write", "a", "first"))

    files.loopback.wait_for(lambda: not files.loopback.plane.scheduler.living_all())

    assert files.committed("a") == b"first"


def test_nothing_shows_before_it_is_committed(files: Files) -> None:
    files.kept(("write", "a", "first"))

    assert files.once(("read", "a")) == [None]


def test_a_container_that_dies_loses_what_it_did_not_commit(files: Files) -> None:
    with pytest.raises(modal.exception.InternalFailure):
        files.once(("write", "a", "kept"), ("commit",), ("write", "b", "lost"), ("die",))

    assert [its.path for its in files.volume.listdir("/")] == ["a"]


def test_commits_come_by_themselves_when_the_setting_asks_for_it(files: Files) -> None:
    files.loopback.settings.background_commit_seconds = 0.05
    files.kept(("write", "a", "first"))

    committed = files.loopback.committed("data")
    files.loopback.wait_for(lambda: (committed / "a").exists())

    assert files.once(("read", "a")) == ["first"]


def test_deletions_are_committed_too(files: Files) -> None:
    files.once(("write", "a", "first"), ("write", "sub/b", "second"), ("commit",))
    files.kept(("read", "a"))

    files.once(("delete", "a"), ("delete", "sub/b"), ("commit",))

    assert files.kept(("read", "a"), ("reload",), ("read", "a")) == ["first", None]


def test_a_write_in_place_stays_in_its_container(files: Files) -> None:
    files.once(("write", "a", "first"), ("commit",))
    files.kept(("read", "a"))

    files.once(("patch", "a", "F"), ("commit",))

    assert files.kept(("read", "a"), ("reload",), ("read", "a")) == ["first", "First"]


def test_the_last_write_of_a_file_wins_and_others_stay(files: Files) -> None:
    files.kept(("write", "a", "from kept"), ("write", "b", "from kept"))
    files.once(("write", "a", "from once"), ("write", "c", "from once"), ("commit",))

    files.kept(("commit",))

    assert files.once(("read", "a"), ("read", "b"), ("read", "c")) == [
        "from kept",
        "from kept",
        "from once",
    ]


def test_a_commit_brings_what_others_committed(files: Files) -> None:
    files.kept(("write", "a", "mine"))
    files.once(("write", "b", "theirs"), ("commit",))

    assert files.kept(("commit",), ("read", "b")) == ["theirs"]


@pytest.mark.parametrize("step", ["hold", "map", "enter"])
def test_a_reload_fails_while_a_file_is_open(files: Files, step: str) -> None:
    files.once(("write", "a", "first"), ("commit",))

    with pytest.raises(RuntimeError, match="there are open files preventing the operation"):
        files.kept((step, "a"), ("reload",))


def test_a_commit_works_while_a_file_is_open(files: Files) -> None:
    files.once(("write", "a", "first"), ("commit",))

    files.kept(("hold", "a"), ("write", "b", "second"), ("commit",))

    assert files.committed("b") == b"second"


def test_a_commit_without_the_volume_fails(files: Files) -> None:
    with pytest.raises(RuntimeError, match="not mounted"):
        files.once(("commit",), function="without")


def test_a_full_volume_takes_no_commit_and_no_upload(files: Files, tmp_path: Path) -> None:
    files.once(("write", "a", "x" * 60), ("commit",))
    files.loopback.set_volume_limit("data", 100)
    (tmp_path / "big").write_bytes(bytes(50))

    with pytest.raises(modal.exception.ResourceExhaustedError, match="Volume 'data' is full"):
        files.once(("write", "b", "x" * 50), ("commit",))
    with (
        pytest.raises(modal.exception.ResourceExhaustedError, match="Volume 'data' is full"),
        files.volume.batch_upload() as batch,
    ):
        batch.put_file(tmp_path / "big", "big")

    assert [its.path for its in files.volume.listdir("/")] == ["a"]


def test_a_write_to_a_read_only_mount_fails_the_test(files: Files) -> None:
    violations = files.loopback.plane.volumes.violations
    files.once(("write", "a", "first"), ("commit",))

    assert files.once(("read", "a"), function="read_only") == ["first"]
    assert not violations
    files.once(("write", "a", "second"), ("commit",), function="read_only")

    assert violations.pop() == "Volume 'data' was written though read-only"
    violations.clear()
    assert files.committed("a") == b"first"


def test_a_mount_may_show_a_part_of_the_volume(files: Files) -> None:
    files.once(("write", "inner/a", "first"), ("write", "outer", "x"), ("commit",))

    seen = files.once(
        ("read", "a"), ("read", "outer"), ("write", "b", "new"), ("commit",), function="inner"
    )

    assert seen == ["first", None]
    assert files.committed("inner/b") == b"new"


def test_the_api_uploads_lists_copies_reads_and_removes(files: Files, tmp_path: Path) -> None:
    (tmp_path / "run" / "deep").mkdir(parents=True)
    (tmp_path / "run" / "deep" / "big").write_bytes(bytes(range(256)) * 70_000)  # 3 blocks
    (tmp_path / "run" / "empty").touch()

    with files.volume.batch_upload() as batch:
        batch.put_directory(tmp_path / "run", "/run")
    files.volume.copy_files(["run/empty"], "copied")
    files.volume.remove_file("run/empty")

    found = {its.path: (its.type.name, its.size) for its in files.volume.iterdir("/")}
    assert found == {
        "copied": ("FILE", 0),
        "run": ("DIRECTORY", 0),
        "run/deep": ("DIRECTORY", 0),
        "run/deep/big": ("FILE", 17_920_000),
    }
    assert files.committed("run/deep/big") == (tmp_path / "run" / "deep" / "big").read_bytes()
    assert [its.path for its in files.volume.listdir("run")] == ["run/deep"]


def test_the_api_refuses_what_is_not_there_or_is_in_the_way(files: Files, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("new")
    files.once(("write", "sub/a", "old"), ("commit",))

    with pytest.raises(FileNotFoundError):
        files.committed("none")
    with pytest.raises(modal.exception.NotFoundError):
        files.volume.listdir("none")
    with pytest.raises(modal.exception.InvalidError, match="is a directory"):
        files.volume.remove_file("sub")
    with pytest.raises(FileExistsError), files.volume.batch_upload() as batch:
        batch.put_file(tmp_path / "a", "sub/a")
    with files.volume.batch_upload(force=True) as batch:
        batch.put_file(tmp_path / "a", "sub/a")

    assert files.committed("sub/a") == b"new"


def test_what_the_api_writes_is_seen_at_the_start_of_a_container(
    files: Files, tmp_path: Path
) -> None:
    (tmp_path / "a").write_text("uploaded")
    files.kept(("read", "a"))

    with files.volume.batch_upload() as batch:
        batch.put_file(tmp_path / "a", "a")

    assert files.once(("read", "a")) == ["uploaded"]
    assert files.kept(("read", "a"), ("reload",), ("read", "a")) == [None, "uploaded"]
