"""A path from a user is looked at before it is read: what it names may have no end."""

import os
from pathlib import Path

import pytest

from tests.lorabot import Lorabot
from training.errors import NotFoundError, RequestError
from training.files.given_files import read_given


def test_a_small_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")

    assert read_given(tmp_path / "file", 5) == b"12345"


def test_a_file_over_the_limit_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"123456")

    with pytest.raises(RequestError, match="6 bytes; the limit"):
        read_given(tmp_path / "file", 5)


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="No such file"):
        read_given(tmp_path / "file", 5)


@pytest.mark.parametrize("kind", ["device", "pipe", "folder"])
def test_what_is_no_regular_file_is_not_opened(tmp_path: Path, kind: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    paths = {"device": Path("/dev/zero"), "pipe": tmp_path / "pipe", "folder": tmp_path}

    with pytest.raises(RequestError, match="not a regular file"):
        read_given(paths[kind], 5)


def test_a_pipe_is_not_called_missing(here: Lorabot, tmp_path: Path) -> None:
    pipe = tmp_path / "set.zip"
    os.mkfifo(pipe)

    for command in ("check", "add"):
        assert f"{pipe} is not a regular file." in here.refused(command, pipe)
        assert "There is no file" in here.refused(command, tmp_path / "other.zip")
    assert "is a folder" in here.refused("check", tmp_path)


def test_no_command_reads_a_device(here: Lorabot, archive: Path, tmp_path: Path) -> None:
    link = tmp_path / "zero.index.json"
    link.symlink_to("/dev/zero")
    zero = "/dev/zero"
    plan = ("plan", "--model", "wan21-t2v-1-3b", "--dataset")
    refusals = [
        here.refused(*plan, archive, "--dataset-toml", zero),
        here.refused(*plan, zero),
        here.refused("check", zero),
        here.refused("add", zero),
        here.refused("add", archive, "--captions", zero),
        here.refused("checkpoint", "add", zero, "--model", "wan21-t2v-1-3b"),
        here.refused("merge", "--base", link, "--lora", zero, "--out", tmp_path / "out"),
        here.refused("merge", "--base", zero, "--lora", zero, "--out", tmp_path / "out"),
        here.refused("merge", "--verify", archive, "--receipt", zero),
    ]

    assert all("file" in refusal for refusal in refusals), refusals
    assert here.run("add", archive).returncode == 0
    assert "not a regular file" in here.refused("captions", "annika", "--file", zero)
