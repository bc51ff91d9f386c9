"""What the probe does in its containers, tried on a local folder."""

import errno
import os
from pathlib import Path

import pytest

from bot.deploy.probe import mount_checks
from bot.deploy.probe.mount_checks import (
    FILES,
    NEW,
    OLD,
    rename_folder,
    sizes_and_times,
    wait_until,
)


def test_a_folder_of_synced_files_is_renamed(tmp_path: Path) -> None:
    (tmp_path / NEW).mkdir()  # of an earlier probe

    errors = rename_folder(tmp_path)

    assert errors == ("", "")
    assert not (tmp_path / OLD).exists()
    assert len(list((tmp_path / NEW).iterdir())) == FILES


def test_an_error_of_the_mount_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(Path, "rename", refuse)
    monkeypatch.setattr(os, "fsync", refuse)

    assert rename_folder(tmp_path) == ("Invalid cross-device link",) * 2


def test_files_are_told_with_their_size_and_time_in_whole_seconds(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.bin").write_bytes(b"123")
    os.utime(tmp_path / "folder" / "a.bin", (5.9, 7.9))

    assert sizes_and_times(tmp_path) == {"folder/a.bin": (3, 7)}


def test_a_container_without_its_partner_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mount_checks, "_WAIT_SECONDS", 0.0)

    wait_until(lambda: True)
    with pytest.raises(TimeoutError, match="was not ready within 0 s"):
        wait_until(lambda: False)
