"""`lorabot explain`: prints cause and fix for a log, and refuses other files."""

import json
import os
from pathlib import Path

import pytest

from bot.__main__ import main
from tests.unit.training.musubi.failures.logs import FOLDER

FAILED = FOLDER / "33_i2v_task_t2v_cache.stderr.txt"
GOOD = FOLDER / "03_train_t2v.stderr.txt"


def code_of(*arguments: str) -> int:
    """Run one command line in this process and return its exit code."""
    try:
        main(["explain", *arguments])
    except SystemExit as end:
        return int(end.code or 0)
    raise AssertionError("a command line ends with an exit code")


def test_a_failure_is_printed_as_stable_json(capsys: pytest.CaptureFixture[str]) -> None:
    code = code_of(str(FAILED), "--json")

    found = json.loads(capsys.readouterr().out)
    assert code == 0
    assert list(found) == ["code", "cause", "fix", "resumable", "retry", "suggestion"]
    assert found["code"] == "caches-without-first-frame"
    assert found["resumable"] is True
    assert found["suggestion"] == {"kind": "cache_again"}


def test_a_failure_is_explained_with_the_option_that_helps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "oom.log"
    log.write_text(
        "Traceback (most recent call last):\n"
        '  File "x.py", line 1, in <module>\n'
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.43 GiB.\n"
    )

    code = code_of(str(log))

    told = capsys.readouterr().out
    assert code == 0
    assert "GPU ran out of memory" in told
    assert "--max-frames 13" in told
    assert "can be resumed from its last saved state" in told


@pytest.mark.parametrize("padding", [0, 700_000])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-8-sig"])
def test_a_log_that_windows_wrote_is_read(
    tmp_path: Path, encoding: str, padding: int, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "powershell.log"
    text = "x\n" * padding + FAILED.read_text("utf-8").replace("\n", "\r\n")
    mark = b"\xfe\xff" if encoding == "utf-16-be" else b""
    log.write_bytes(mark + text.encode(encoding))

    code = code_of(str(log), "--json")

    assert code == 0
    assert json.loads(capsys.readouterr().out)["code"] == "caches-without-first-frame"


def test_a_log_with_a_name_in_any_script_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "アニカ 訓練.log"
    log.write_bytes(FAILED.read_bytes())

    assert code_of(str(log), "--json") == 0
    assert json.loads(capsys.readouterr().out)["code"] == "caches-without-first-frame"


def test_a_log_without_a_failure_ends_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    code = code_of(str(GOOD), "--json")

    told = capsys.readouterr()
    assert code == 1
    assert json.loads(told.out) is None
    assert "shows no failure" in told.err


def test_the_last_step_of_a_training_is_read_from_its_output(
    capsys: pytest.CaptureFixture[str],
) -> None:
    stopped = FOLDER / "40_sigTERM.stderr.txt"

    assert code_of(str(stopped), "--exit-code", "-15") == 0

    assert "The trainer reached step 12 of 27." in capsys.readouterr().out


def test_the_exit_code_explains_what_the_log_does_not(capsys: pytest.CaptureFixture[str]) -> None:
    code = code_of(str(GOOD), "--exit-code", "137")

    assert code == 0
    assert "killed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "expected"),
    [(b"", "is empty"), (b" \n\r\n", "is empty"), (b"\x7fELF\0\0\1", "not a text file")],
)
def test_a_file_that_is_not_a_log_is_refused(
    tmp_path: Path, content: bytes, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "some.log"
    log.write_bytes(content)

    code = code_of(str(log))

    told = capsys.readouterr()
    assert (code, told.out) == (1, "")
    assert expected in told.err


@pytest.mark.parametrize("name", ["nothing.log", "."])
def test_a_missing_log_or_a_folder_is_refused(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code_of(str(tmp_path / name)) == 1
    assert str(tmp_path) in capsys.readouterr().err


def test_only_the_end_of_a_huge_log_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "huge.log"
    with log.open("wb") as file:
        os.truncate(file.fileno(), 8 * 1024**3)  # sparse: it takes no room on the disk
        file.seek(0, os.SEEK_END)
        file.write("学習\n".encode() * 300_000 + FAILED.read_bytes())

    code = code_of(str(log))

    assert code == 0
    assert "latents" not in capsys.readouterr().err


def test_a_pipe_is_not_called_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "log")

    assert code_of(str(tmp_path / "log")) == 1
    assert "is not a regular file." in capsys.readouterr().err
    assert code_of(str(tmp_path / "other.log")) == 1
    assert "There is no file" in capsys.readouterr().err
