"""Volumes through the API, with limits, and mounted in part."""

from pathlib import Path

import modal
import pytest

from tests.wire.modal.files_app import Files


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


def test_the_api_refuses_missing_and_conflicting_paths(files: Files, tmp_path: Path) -> None:
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
