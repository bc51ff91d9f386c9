"""A large file is read on its first use, once a day, and whenever it was replaced."""

import os
import tempfile
import time
from pathlib import Path

import pytest

from training.files.read_before import is_right


class Check:
    """Counts how often the file was read."""

    def __init__(self, answer: bool = True) -> None:
        self.answer, self.count = answer, 0

    def __call__(self) -> bool:
        self.count += 1
        return self.answer


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "base.safetensors"
    path.write_bytes(b"weights")
    return path


def test_a_file_that_was_right_is_not_read_again(file: Path) -> None:
    check = Check()

    assert [is_right(file, "a", check) for _ in range(3)] == [True] * 3
    assert check.count == 1


def test_a_file_that_was_wrong_is_read_again(file: Path) -> None:
    check = Check(answer=False)

    assert [is_right(file, "a", check) for _ in range(2)] == [False] * 2
    assert check.count == 2


def test_a_replaced_file_or_another_wanted_content_is_read(file: Path) -> None:
    check = Check()
    is_right(file, "a", check)

    is_right(file, "b", check)
    os.utime(file, (1.0, 1.0))
    is_right(file, "a", check)
    file.unlink()
    file.write_bytes(b"others!")
    is_right(file, "a", check)

    assert check.count == 4


def test_a_file_is_read_once_a_day_and_old_notes_are_removed(file: Path, scratch: Path) -> None:
    check = Check()
    is_right(file, "a", check)
    is_right(file, "b", check)
    day_ago = time.time() - 24 * 60 * 60 - 1
    for stamp in scratch.glob("*/*"):
        os.utime(stamp, (day_ago, day_ago))

    assert is_right(file, "a", check)

    assert check.count == 3
    assert len(list(scratch.glob("*/*"))) == 1


def test_without_a_place_for_notes_every_use_reads_the_file(file: Path, scratch: Path) -> None:
    scratch.rmdir()
    check = Check()

    assert [is_right(file, "a", check) for _ in range(2)] == [True] * 2
    assert check.count == 2
