"""A run's green tick: the card, the thread, the ping, the lists and the links agree on it."""

from typing import get_args

import pytest

from bot.messages.card import Colour
from bot.messages.runs.answers import ended_ping, runs_card
from bot.messages.runs.card import run_card
from bot.messages.runs.downloads import CheckpointLink, EpochLinks, download_card
from bot.messages.runs.milestones import end_panel
from bot.messages.runs.wording import state_text
from tests.unit.bot.messages.run_examples import NOW, START, a_spec, a_view, ended, trained
from training.operations.run_list import RunPage
from training.pipeline.run_view import RunView
from training.runs import events as ev
from training.runs.events import Event
from training.runs.training_events import EpochEnded, Warned
from training.vocabulary import StageKey, Trouble

LOW = StageKey("train", "low")
FALLING, FLAT, DIVERGED = (0.4, 0.3, 0.2), (0.2, *[0.1] * 8), (0.3, 0.1, 0.31)


def of_low(*bodies: EpochEnded | Warned) -> list[Event]:
    return [ev.StageEvent(at=START, key=LOW, attempt=1, body=body) for body in bodies]


def whole(losses: tuple[float, ...], *warned: Trouble) -> RunView:
    """Return a run that finished, with what happened to its low expert."""
    means = [EpochEnded(epoch=n, step=10 * n, loss=loss) for n, loss in enumerate(losses, 1)]
    troubles = [Warned(trouble=trouble, step=3, epoch=1) for trouble in warned]
    return a_view(a_spec(), *trained(a_spec()), *of_low(*means, *troubles), ended())


def ticks(view: RunView) -> set[bool]:
    """Return whether each place that tells of the end shows it as a whole success."""
    link = CheckpointLink("low", "a.safetensors", 9, 0.1, "https://example.org/a")
    epoch = EpochLinks(50, (link,), None)
    card, thread = run_card(view, now=NOW), end_panel(view)
    summary = view.summary(NOW)
    return {
        card.colour is Colour.GOOD,
        card.title.endswith(": succeeded"),
        thread.colour is Colour.GOOD,
        thread.title == "Succeeded",
        ended_ping(view).startswith("✓"),
        runs_card(RunPage(1, [summary])).description.startswith("✓"),
        state_text(summary) == "succeeded",
        download_card(view, [epoch], epoch, "https://example.org").colour is Colour.GOOD,
    }


@pytest.mark.parametrize("losses", [(), FALLING, FLAT], ids=["none", "falling", "flat"])
def test_a_run_that_learned_has_its_tick_everywhere(losses: tuple[float, ...]) -> None:
    assert ticks(whole(losses)) == {True}


def test_a_flat_loss_says_so_beside_the_tick() -> None:
    view = whole(FLAT)

    texts = [run_card(view, now=NOW).text, end_panel(view).text, ended_ping(view)]

    assert all("flat since epoch 2" in text for text in texts)


@pytest.mark.parametrize("trouble", get_args(Trouble))
def test_a_run_in_trouble_has_its_tick_nowhere(trouble: Trouble) -> None:
    view = whole(DIVERGED) if trouble == "loss_diverged" else whole(FALLING, trouble)

    assert view.run.trouble == trouble
    assert ticks(view) == {False}
