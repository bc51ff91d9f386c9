"""Texts about changes between two versions; quoted text cannot break their markup."""

from bot.messages.datasets.difference import difference_card, difference_text
from tests.unit.bot.messages.dataset_examples import a_version
from training.dataset.difference import Difference, NewCaption

NOTHING = Difference(added=(), removed=(), renamed=(), replaced=(), captions=())


def test_equal_versions_are_said_to_be_equal() -> None:
    assert "are the same" in difference_card(a_version(1), a_version(2), NOTHING).text


def test_settings_of_a_version_are_compared_too() -> None:
    new = a_version(2).model_copy(update={"trigger": "ohwx", "media": "original"})

    text = difference_text(a_version(1), new, NOTHING)

    assert "Trigger word: none → ohwx\n" in text
    assert "Images and clips: as repaired → as uploaded" in text


def test_captions_are_quoted_literally_and_the_card_counts_what_it_leaves_out() -> None:
    captions = tuple(
        NewCaption(f"images/{n}.png", "**bold**\n@everyone", "x" * 900) for n in range(40)
    )
    found = Difference(
        added=("a",), removed=(), renamed=(("b", "c"),), replaced=(), captions=captions
    )

    card = difference_card(a_version(1), a_version(2), found)
    text = difference_text(a_version(1), a_version(2), found)

    assert "Changed captions: 40" in card.text
    assert r"\*\*bold" in card.text
    assert "more" in card.text
    assert "- b → c" in card.text
    assert text.count("x" * 900) == 40
    assert "**bold** @everyone" in text
