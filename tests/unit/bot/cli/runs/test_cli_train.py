"""`lorabot train` and `resume`: what they refuse and ask for before anything starts."""

import os
import pty
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from unittest.mock import create_autospec

import pytest

from bot.cli.home import Home
from bot.installation import Installation
from tests.lorabot import Lorabot
from training.errors import RequestError
from training.operations.run_plans import RunPlan
from training.operations.runs import Runs

UNUSUAL = ("--learning-rate", "0.1", "--epochs", "1")


def train(archive: Path, *options: str) -> tuple[str, ...]:
    return ("train", "--model", "wan21-t2v-1-3b", "--dataset", str(archive), *options)


def on_a_terminal(home: Path, answer: str, *arguments: str) -> tuple[int, str]:
    """Run a command on a terminal and answer its question; return exit code and output."""
    line = [sys.executable, "-m", "bot", *arguments, "--home", str(home)]
    ours, theirs = pty.openpty()
    with subprocess.Popen(line, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        said = b""
        is_answered = False
        # Linux reports the end of a terminal as an error.
        with suppress(OSError):
            while block := os.read(ours, 4096):
                said += block
                if b"[y/N]" in said and not is_answered:
                    is_answered = True
                    os.write(ours, answer.encode())
        os.close(ours)
    assert is_answered, said
    return process.returncode, said.decode()


def test_without_a_terminal_a_doubtful_run_needs_a_yes(here: Lorabot, archive: Path) -> None:
    said = here.refused(*train(archive, *UNUSUAL))

    assert "will probably diverge" in said
    assert "a setting is unusual" in said
    assert "--yes" in said
    assert not (here.home / "guilds").exists()


def test_a_run_that_costs_money_needs_a_yes(
    here: Lorabot, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reasons(_plan: RunPlan, _limit: float) -> tuple[str, ...]:
        return ("high cost",)

    monkeypatch.setattr(RunPlan, "reasons_to_ask", reasons)

    said = here.refused(*train(archive, "--json"))

    assert "it may cost more than $2.00" in said
    assert not (here.home / "guilds").exists()


@pytest.mark.parametrize("answer", ["n\n", "\n", "\x04"], ids=["no", "enter", "end-of-input"])
def test_on_a_terminal_it_shows_the_plan_and_asks(
    answer: str, archive: Path, tmp_path: Path
) -> None:
    code, said = on_a_terminal(tmp_path / "home", answer, *train(archive, *UNUSUAL))

    assert code == 1
    assert "will probably diverge" in said
    assert "This rehearsal is free." in said
    assert "Nothing was started or stored." in said
    assert "Traceback" not in said
    assert not (tmp_path / "home" / "guilds").exists()


@pytest.mark.slow
def test_on_a_terminal_a_yes_starts_it(archive: Path, tmp_path: Path) -> None:
    code, said = on_a_terminal(tmp_path / "home", "y\n", *train(archive, *UNUSUAL))

    assert code == 0, said
    assert "annika-wan21-t2v-1-3b started" in said


@pytest.mark.parametrize(
    ("options", "method"), [((), "resume"), (("--as-suggested",), "try_again")]
)
def test_resume_changes_what_the_failure_suggests_only_when_asked(
    options: tuple[str, ...], method: str, here: Lorabot, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = create_autospec(Runs, instance=True, spec_set=True)
    getattr(runs, method).side_effect = RequestError(f"{method} was asked for.", "")
    installation = create_autospec(Installation, instance=True, runs=runs)
    opened = create_autospec(Home.open, return_value=installation)
    monkeypatch.setattr(Home, "open", opened)

    assert f"{method} was asked for." in here.refused("resume", "mine", *options)
