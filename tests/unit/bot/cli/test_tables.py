"""Tables on the command line cut no name, however narrow the terminal is."""

import pytest
from rich.console import Console
from rich.table import Table

from bot.cli import output
from bot.cli.output import print_table
from tests.lorabot import Lorabot
from training.operations.run_list import RunList
from training.pipeline.run_view import RunSummary
from training.ports import RunFilter

NAMES = ("annika-with-a-long-name-wan22-i2v-lightning", "wan22-i2v-lightning", "annika@12")


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_narrow_table_keeps_every_name_on_one_line(
    is_terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    narrow = Console(width=40, soft_wrap=True, force_terminal=is_terminal, no_color=True)
    monkeypatch.setattr(output, "console", narrow)
    table = Table("run", "model", "dataset", "use it for", box=None)
    table.add_row(*NAMES, "a longer text that may go on in another line")

    print_table(table, wrapped=("use it for",))

    lines = capsys.readouterr().out.splitlines()
    (row,) = (line for line in lines if NAMES[0] in line)
    assert all(name in row for name in NAMES)
    assert (len(lines) > 2) == is_terminal


def test_runs_show_models_in_full_and_mark_rehearsals(
    here: Lorabot, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, model, dataset = NAMES
    one = RunSummary(name=name, model=model, dataset=dataset, state="succeeded", engine="musubi")
    found = [
        one.model_copy(update={"engine": "rehearsal"}),
        one.model_copy(update={"state": "running", "stage": "train"}),
        one.model_copy(update={"trouble": "loss_diverged"}),
    ]

    def summaries(_list: RunList, _guild: str, _only: RunFilter) -> list[RunSummary]:
        return found

    monkeypatch.setattr(RunList, "summaries", summaries)

    rehearsed, training, flawed = here.run("runs").stdout.splitlines()[1:]

    assert all(model in row for row in (rehearsed, training, flawed))
    assert "succeeded, rehearsal" in rehearsed
    assert "running, train" in training
    assert "finished, but the loss diverged" in flawed
    assert "rehearsal" not in training
