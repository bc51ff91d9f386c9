"""Texts that are not captions, and captions that only look like such texts."""

import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from training.dataset.captions.judgement import judge

TEXTS: dict[str, list[str]] = tomllib.loads(
    (Path(__file__).parents[4] / "data/caption-texts.toml").read_text("utf-8")
)
CAPTIONS = TEXTS.pop("captions")


def ways(text: str) -> Iterator[tuple[str, str | None]]:
    """Yield a text alone and behind a trigger word, with the trigger that was declared."""
    yield from ((text, None), (text, "ann1ka"), (f"ohwx, {text}", "ohwx"))


@pytest.mark.parametrize("code", TEXTS)
def test_texts_that_are_no_captions_are_found_with_their_beginnings(code: str) -> None:
    found = {way: judge(*way) for text in TEXTS[code] for way in ways(text)}

    assert [way for way, note in found.items() if note is None or note.code != code] == []
    for (given, _), note in found.items():
        assert note is not None
        assert given.split()[0][:10] in note.detail


def test_a_caption_may_mention_errors_code_and_anything_else() -> None:
    found = {way: judge(*way) for text in CAPTIONS for way in ways(text)}

    assert {way: note for way, note in found.items() if note is not None} == {}


def test_a_trigger_word_may_be_any_word() -> None:
    assert judge("none", "none") is None
    assert judge("error", "error") is None


@pytest.mark.parametrize("text", ["photo 0", "Image 1", "video7.", "clip 3"])
def test_a_kind_of_file_and_a_number_is_a_caption_only_behind_a_word(text: str) -> None:
    alone = judge(text, None)

    assert alone is not None
    assert alone.code == "caption-failed"
    assert judge(f"ann1ka, {text}", None) is None
    assert judge(f"ann1ka, {text}", "ann1ka") is None
