"""A suggested change in words: on the button, in the answer, as an option."""

import pytest

from bot.discord.buttons.runs import run_buttons
from bot.messages.remedies import retry_label, suggestion_option
from bot.messages.runs.answers import retried_card
from bot.messages.runs.card import run_card
from tests.unit.bot.messages.run_examples import NOW, a_spec, a_view
from training.pipeline.run_view import RunView
from training.remedies import (
    CacheAgain,
    FewerFrames,
    LeaveOut,
    LowerRate,
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
    LowerRate(learning_rate=2.4e-5),
    LeaveOut(sample=f"images-20-repeats/{'a' * 62}-7.webp"),
]


def labels_of(view: RunView) -> list[str]:
    """Return the labels of the buttons below a run's card."""
    return [str(button.to_component_dict()["label"]) for button in run_buttons(view)]


def failure(suggestion: Suggestion | None) -> ev.RunFailed:
    return ev.RunFailed(at=NOW, cause="It broke.", fix="Mend it.", remedy=suggestion)


@pytest.mark.parametrize("suggestion", ALL, ids=lambda s: s.kind)
async def test_a_failed_run_offers_the_suggested_change_beside_resume(
    suggestion: Suggestion,
) -> None:
    labels = labels_of(a_view(a_spec(), failure(suggestion)))

    assert labels == ["Details", "Resume", retry_label(suggestion), "Train again"]
    assert all(len(label) <= 80 for label in labels)


def test_a_long_file_name_keeps_its_start_and_end_on_the_button() -> None:
    long = retry_label(LeaveOut(sample=f"images/{'a' * 62}-7.webp"))

    assert len(long) == 80
    assert long.startswith("Try again with aaa")
    assert long.endswith("aaa-7.webp left out")
    assert retry_label(LeaveOut(sample="images/7.png")) == "Try again with 7.png left out"


async def test_without_a_suggestion_there_is_only_resume() -> None:
    assert labels_of(a_view(a_spec(), failure(None))) == ["Details", "Resume", "Train again"]


@pytest.mark.parametrize("suggestion", ALL, ids=lambda s: s.kind)
def test_the_suggested_command_line_option_exists(suggestion: Suggestion) -> None:
    told = suggestion_option(suggestion) or ""

    known = {f"--{option(name)}" for name in (*SETTING_NAMES, *ITEM_NAMES)}
    named = {word for word in told.split() if word.startswith("--")}
    assert named <= known
    assert len(named) == (0 if isinstance(suggestion, CacheAgain | LeaveOut) else 1)


def test_the_answer_says_whether_training_continues_or_starts_again() -> None:
    anew = retried_card(a_spec(), FewerFrames(max_frames=13), "old").description
    goes_on = retried_card(a_spec(), SwapBlocks(blocks=20), "old").description

    assert "from the start" in anew
    assert "13 frames" in anew
    assert "Resumes **old** with 20 blocks" in goes_on


def test_the_card_names_the_limits_of_a_run() -> None:
    items = ItemSettings(max_frames=13, resolution="480p")
    spec = a_spec().model_copy(update={"items": items})

    limited = run_card(a_view(spec), now=NOW).description

    assert "Limited to 13 frames per training clip and 480p." in limited
    assert "Limited" not in run_card(a_view(a_spec()), now=NOW).description
