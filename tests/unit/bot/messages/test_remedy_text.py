"""A suggested change in words: on the button, in the answer, as an option."""

import pytest

from bot.discord.buttons.runs import run_buttons
from bot.messages.lists import retried_card
from bot.messages.remedy_text import retry_label, suggestion_option
from bot.messages.run_card import run_card
from tests.unit.bot.messages.run_examples import NOW, a_spec, a_view
from training.remedies import (
    CacheAgain,
    FewerFrames,
    LowerResolution,
    Suggestion,
    SwapBlocks,
    UseFp8,
)
from training.runs import events as ev
from training.runs.hyperparameters import ITEM_NAMES, SETTING_NAMES, ItemSettings, option

ALL: list[Suggestion] = [
    FewerFrames(max_frames=13),
    LowerResolution(resolution="480p"),
    SwapBlocks(blocks=20),
    UseFp8(),
    CacheAgain(),
]


def failure(suggestion: Suggestion | None) -> ev.RunFailed:
    return ev.RunFailed(at=NOW, cause="It broke.", fix="Mend it.", remedy=suggestion)


@pytest.mark.parametrize("suggestion", ALL, ids=lambda s: s.kind)
async def test_a_failed_run_offers_the_suggested_change_beside_resume(
    suggestion: Suggestion,
) -> None:
    buttons = run_buttons(a_view(a_spec(), failure(suggestion))).to_components()[0]["components"]

    labels = [button["label"] for button in buttons]
    assert labels == ["Resume", retry_label(suggestion)]
    assert all(len(label) <= 80 for label in labels)


async def test_without_a_suggestion_there_is_only_resume() -> None:
    buttons = run_buttons(a_view(a_spec(), failure(None))).to_components()[0]["components"]

    assert [button["label"] for button in buttons] == ["Resume"]


@pytest.mark.parametrize("suggestion", ALL, ids=lambda s: s.kind)
def test_the_command_line_is_told_an_option_that_exists(suggestion: Suggestion) -> None:
    told = suggestion_option(suggestion) or ""

    known = {f"--{option(name)}" for name in (*SETTING_NAMES, *ITEM_NAMES)}
    named = {word for word in told.split() if word.startswith("--")}
    assert named <= known
    assert len(named) == (0 if isinstance(suggestion, CacheAgain) else 1)


def test_the_answer_says_whether_training_goes_on_or_begins_anew() -> None:
    anew = retried_card(a_spec(), FewerFrames(max_frames=13), "old").description
    goes_on = retried_card(a_spec(), SwapBlocks(blocks=20), "old").description

    assert "from the start" in anew
    assert "13 frames" in anew
    assert "Goes on where **old** stopped" in goes_on


def test_the_card_says_what_a_run_is_limited_to() -> None:
    items = ItemSettings(max_frames=13, resolution="480p")
    spec = a_spec().model_copy(update={"items": items})

    limited = run_card(a_view(spec), now=NOW).description

    assert "at most 13 frames of a clip at once and 480p" in limited
    assert "at most" not in run_card(a_view(a_spec()), now=NOW).description
