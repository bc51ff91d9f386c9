"""Damaged and removed files: what is hit says so, everything else goes on."""

from pathlib import Path

import pytest

from bot.cli.output import console
from bot.demo.play import on_this_machine, play
from tests.pipeline.home import GUILD, Home
from tests.pipeline.lorabot import Lorabot
from training.errors import TrainingError
from training.operations.run_drafts import Requester
from training.pipeline.advance import lease_name
from training.pipeline.run_view import metrics
from training.runs.state import RunStatus
from training.store_keys import RunKeys
from training.vocabulary import StageKey

REQUESTER = Requester(guild=GUILD, by="7", channel="5")
SLOW = "LORABOT_STEP_DELAY"


@pytest.mark.slow
def test_a_run_whose_files_are_removed_fails_and_the_others_go_on(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SLOW, "0.1")
    victim = home.start(name="victim", epochs="50").name
    other = home.start(name="other").name
    home.until(victim, lambda view: view.expert("main").step > 0)

    home.local.runtime.store.delete(RunKeys(GUILD, victim).report)

    assert home.finish(other).run.status is RunStatus.SUCCEEDED
    home.kill("training.rehearsal", "victim")
    failed = home.finish(victim)
    assert failed.run.status is RunStatus.FAILED
    assert "removed or damaged" in failed.run.cause


def test_a_run_whose_record_is_damaged_is_listed_as_such(home: Home) -> None:
    good = home.view(home.start(name="good", epochs="1").name)
    store = home.local.runtime.store
    store.write(RunKeys(GUILD, "bad").spec, b"{")

    listed = {run.name: run for run in home.local.runs.summaries(GUILD)}

    assert listed["good"].state == good.run.status
    assert listed["bad"].state == "damaged"
    assert listed["bad"].error


def test_a_damaged_lease_is_free(home: Home) -> None:
    name = lease_name(GUILD, "run", StageKey("train", "main"))
    grant = home.local.runtime.leases.acquire(name, holder="a")
    assert grant is not None
    for path in (home.local.home / "leases").iterdir():
        path.write_bytes(b'{"name": "x')

    assert not home.local.runtime.leases.renew(grant)
    assert home.local.runtime.leases.acquire(name, holder="b") is not None


@pytest.mark.slow
def test_resuming_a_resumed_run_goes_on_from_the_first_ones_state(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SLOW, "0.15")
    first = home.start(epochs="4").name
    home.until(first, lambda view: bool(view.expert("main").checkpoints))
    home.local.runs.cancel(GUILD, first, by="7")
    home.finish(first)
    second = home.local.runs.resume(first, REQUESTER)
    home.local.runs.cancel(GUILD, second.name, by="7")
    home.finish(second.name)

    third = home.local.runs.resume(second.name, REQUESTER)
    ended = home.finish(third.name)

    steps = [metric.step for metric in metrics(home.local.runtime, third, "main")]
    assert ended.run.status is RunStatus.SUCCEEDED
    assert steps[0] > 1
    assert steps[-1] == ended.expert("main").total_steps


def test_damaged_databases_are_made_anew(here: Lorabot) -> None:
    (here.home / "local").mkdir(parents=True)
    (here.home / "index.sqlite").write_bytes(b"garbage" * 1000)
    (here.home / "local" / "queue.sqlite").write_bytes(b"garbage" * 1000)

    assert here.json("runs", "--rebuild") == []
    assert list((here.home / "local").glob("queue-damaged-*.sqlite"))


async def test_the_demonstration_spares_a_folder_that_it_did_not_make(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")

    with pytest.raises(TrainingError, match="not from a demo"):
        await play(tmp_path, console, on_this_machine())

    assert (tmp_path / "mine.txt").read_text() == "keep"


@pytest.mark.parametrize(
    ("variable", "value"),
    [("LORABOT_GPU_SLOTS", "abc"), ("LORABOT_WEB_PORT", "99999"), ("LORABOT_LINK_HOURS", "0")],
)
def test_a_wrong_variable_is_named(
    variable: str, value: str, here: Lorabot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)

    assert variable in here.refused("runs")


def test_a_port_that_cannot_be_is_wrong_usage(here: Lorabot) -> None:
    assert "port" in here.refused("sandbox", "--port", "99999", code=2)
