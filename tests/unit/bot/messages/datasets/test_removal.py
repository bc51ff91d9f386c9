"""The question before a removal says what goes and what stays."""

from bot.messages.card import Card
from bot.messages.datasets.removal import removal_card
from tests.unit.bot.messages.dataset_examples import a_version
from training.operations.trash.dataset_removal import PlannedRemoval


def asked(*numbers: int, others: tuple[int, ...] = (), runs: tuple[str, ...] = ()) -> Card:
    versions = tuple(a_version(number) for number in numbers)
    return removal_card(
        PlannedRemoval(
            name="annika", is_whole=not others, versions=versions, others=others, runs=runs
        )
    )


def test_the_question_about_a_whole_set_counts_its_versions() -> None:
    text = asked(1, 3).text

    assert text.startswith("Remove all of annika, 2 versions?")
    assert "**annika@3**: 6 images and 4 clips, uploaded, added 2026-08-01" in text
    assert "You can restore them for 7 days; then they are deleted." in text
    assert "Runs trained on it\nnone" in text
    assert "Stays" not in text


def test_the_question_about_one_version_names_those_that_stay() -> None:
    text = asked(2, others=(1, 3)).text

    assert text.startswith("Remove annika@2?")
    assert (
        "Stays\nannika@1 and annika@3. `/dataset remove name:annika` removes every version." in text
    )


def test_all_runs_trained_on_a_dataset_are_named() -> None:
    one, many = asked(1, runs=("mine",)).text, asked(1, runs=tuple(f"r{n}" for n in range(200)))

    assert "Runs trained on it\n**mine**. Their checkpoints stay" in one
    assert "**r11** and 188 more." in many.text
    assert "can no longer be resumed" in one
