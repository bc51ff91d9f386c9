"""The question before a removal says what goes and what stays, and the answer what went."""

from bot.messages.card import Card
from bot.messages.removal_text import removal_card, removed_card
from tests.unit.bot.messages.datasets import a_version
from training.operations.dataset_removal import Removal


def asked(*numbers: int, others: tuple[int, ...] = (), runs: tuple[str, ...] = ()) -> Card:
    versions = tuple(a_version(number) for number in numbers)
    return removal_card(
        Removal(name="annika", is_whole=not others, versions=versions, others=others, runs=runs)
    )


def test_the_question_about_a_whole_set_counts_its_versions() -> None:
    text = asked(1, 3).text

    assert text.startswith("Remove all of annika, 2 versions?")
    assert "**annika@3**: 6 images and 4 clips, uploaded, added 2026-08-01" in text
    assert "cannot be had back" in text
    assert "Runs trained on it\nnone" in text
    assert "Stays" not in text


def test_the_question_about_one_version_names_those_that_stay() -> None:
    text = asked(2, others=(1, 3)).text

    assert text.startswith("Remove annika@2?")
    assert "Stays\nannika@1 and annika@3. `/dataset remove name:annika` removes all." in text


def test_runs_that_were_trained_on_it_are_named_however_many() -> None:
    one, many = asked(1, runs=("mine",)).text, asked(1, runs=tuple(f"r{n}" for n in range(200)))

    assert "Runs trained on it\n**mine**. What they saved stays" in one
    assert "**r11** and 188 more." in many.text
    assert "cannot be resumed without it" in one


def test_removal_names_what_is_gone_and_what_stays() -> None:
    card = removed_card([a_version(1), a_version(2)])

    assert card.title == "Removed 2 dataset versions"
    assert "**annika@1**\n**annika@2**" in card.description
    assert "keep their checkpoints" in card.description
