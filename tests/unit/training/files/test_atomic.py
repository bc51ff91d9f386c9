"""A file has its final name only when its bytes, and then the name, are on disk."""

import sys
from pathlib import Path
from unittest.mock import Mock

import pytest

from tests.synced import Synced
from training.files import atomic
from training.files.atomic import (
    atomic_directory,
    atomic_file,
    atomic_path,
    atomic_write,
    link_or_copy,
    make_directory,
)


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> Synced:
    return Synced(monkeypatch)


def test_the_recorder_finds_what_nobody_synced(tmp_path: Path, synced: Synced) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/file").write_bytes(b"1")

    assert synced.lost(tmp_path / "a") == ["a", "a/file"]


def test_a_file_is_on_disk(tmp_path: Path, synced: Synced) -> None:
    with atomic_file(tmp_path / "streamed") as stream:
        stream.write(b"1")
    atomic_write(tmp_path / "written", b"2")
    with atomic_path(tmp_path / "named") as partial:
        partial.write_bytes(b"3")

    assert sorted(path.name for path in tmp_path.iterdir()) == ["named", "streamed", "written"]
    assert synced.lost(tmp_path / "streamed", tmp_path / "written", tmp_path / "named") == []


def test_the_name_of_a_file_is_on_disk(tmp_path: Path, synced: Synced) -> None:
    atomic_write(tmp_path / "source", b"1")
    link_or_copy(tmp_path / "source", tmp_path / "linked")

    assert synced.lost(tmp_path) == []


@pytest.mark.parametrize("is_there", [False, True])
def test_a_folder_is_on_disk_with_all_below_it(
    tmp_path: Path, synced: Synced, is_there: bool
) -> None:
    if is_there:
        (tmp_path / "folder").mkdir()
        (tmp_path / "folder/old").touch()

    with atomic_directory(tmp_path / "folder") as partial:
        (partial / "deep/deeper").mkdir(parents=True)
        (partial / "deep/deeper/file").write_bytes(b"1")
        (partial / "file").write_bytes(b"2")

    assert synced.lost(tmp_path / "folder") == []
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_new_folders_are_on_disk(tmp_path: Path, synced: Synced) -> None:
    make_directory(tmp_path / "a/b/c")

    assert synced.lost(tmp_path) == []


def test_on_windows_a_rename_waits_for_a_virus_scanner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atomic, "_PAUSE_SECONDS", 0)
    monkeypatch.setattr(sys, "platform", "win32")
    rename = Mock(side_effect=[PermissionError, PermissionError, None])

    atomic.patiently(rename)

    assert rename.call_count == 3


def test_a_rename_that_stays_forbidden_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atomic, "_PATIENCE_SECONDS", 0)
    monkeypatch.setattr(sys, "platform", "win32")

    with pytest.raises(PermissionError):
        atomic.patiently(Mock(side_effect=PermissionError))
