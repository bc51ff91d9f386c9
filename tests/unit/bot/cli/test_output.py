"""The command line prints JSON that every parser accepts, and letters of every language."""

import io
import json
import sys
from typing import Any

import pytest
from rich.progress import Progress

from bot.cli.output import print_every_letter, print_json
from bot.cli.progress import BytesColumn


def refuse(constant: str) -> Any:
    raise AssertionError(f"{constant} is no JSON")


def test_a_nan_loss_is_null(capsys: pytest.CaptureFixture[str]) -> None:
    value = {"experts": [{"loss": float("nan"), "step": 3}], "rate": float("-inf"), "done": 0.5}

    print_json(value)

    found = json.loads(capsys.readouterr().out, parse_constant=refuse)
    assert found == {"experts": [{"loss": None, "step": 3}], "rate": None, "done": 0.5}


class Terminal(io.BytesIO):
    """A terminal, as far as a program can tell."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "want"), [(io.BytesIO(), "✓ né 猫"), (Terminal(), "\\u2713 né \\u732b")]
)
def test_files_get_every_letter_and_terminals_what_they_can_show(
    stream: io.BytesIO, want: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = io.TextIOWrapper(stream, "cp1252", write_through=True)
    monkeypatch.setattr(sys, "stdout", old)

    print_every_letter()
    old.write("✓ né 猫")

    assert stream.getvalue().decode("cp1252" if stream.isatty() else "utf-8") == want


def test_a_transfer_is_counted_as_in_every_other_text() -> None:
    clock = iter(range(100)).__next__
    with Progress(BytesColumn(), disable=True, get_time=clock) as progress:
        bar = progress.add_task("Sending", total=6 << 30)
        before = BytesColumn().render(progress.tasks[0]).plain
        for done in (1 << 30, 2 << 30):
            progress.update(bar, completed=done)
        during = BytesColumn().render(progress.tasks[0]).plain

    assert before == "0 bytes of 6.0 GiB"
    assert during == "2.0 GiB of 6.0 GiB, 1.0 GiB/s"
