"""Errors of the operating system, as a person reads them."""

import errno
from pathlib import Path

import pytest

from bot.cli.system_errors import system_error
from tests.lorabot import Lorabot
from training.files.temporary import partial_name


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.EEXIST, "out is a file, but a folder is needed there."),
        (errno.EISDIR, "out is a folder, but a file is needed there."),
        (errno.ENOTDIR, "A part of the path out is a file"),
        (errno.ENOENT, "There is no out."),
        (errno.EACCES, "You do not have permission to use out."),
        (errno.EROFS, "out is on a disk that cannot be written."),
        (errno.ENOSPC, "The disk is full; out could not be written."),
        (errno.EIO, "The system reported an error about out: Input/output error."),
    ],
)
def test_an_error_is_told_with_its_path_and_a_fix(number: int, said: str) -> None:
    told = system_error(OSError(number, "Input/output error", "out"))

    assert said in told.cause
    assert "Errno" not in told.cause
    assert told.fix


def test_a_temporary_name_is_not_shown() -> None:
    error = OSError(errno.EACCES, "", f"loras/{partial_name('mine.zip')}")

    assert system_error(error).cause == "You do not have permission to use loras."


def test_an_error_without_a_path_is_told_too() -> None:
    assert "The disk is full; the file" in system_error(OSError(errno.ENOSPC, "full")).cause


def test_a_folder_in_place_of_a_file_is_named(here: Lorabot, archive: Path, tmp_path: Path) -> None:
    assert (
        "is a folder, but a file is needed"
        in here.run("check", archive, "--table", tmp_path).stderr
    )
    missing = tmp_path / "no" / "table.csv"
    assert f"There is no {missing}." in here.run("check", archive, "--table", missing).stderr


@pytest.mark.parametrize("name", ["there", "new.zip", "new.safetensors"])
def test_a_download_goes_into_a_folder(here: Lorabot, tmp_path: Path, name: str) -> None:
    out = tmp_path / name
    if name == "there":
        out.write_text("mine")

    said = here.refused("download", "mine", "--out", out)

    assert f"--out {out} is a file, but the checkpoints need a folder." in said
    assert name != "there" or out.read_text() == "mine"
