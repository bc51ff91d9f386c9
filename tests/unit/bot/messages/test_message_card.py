"""Cards and markdown: no content breaks Discord's limits or is cut inside its markup."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.messages.card import Card, Field
from bot.messages.markdown import cut, escape, join_lines, length, one_line


def repeated(text: str) -> str:
    return text * 700


TEXTS = st.one_of(st.text(max_size=200), st.text(min_size=1, max_size=20).map(repeated))
FIELDS = st.lists(st.builds(Field, TEXTS, TEXTS, st.booleans()), max_size=30).map(tuple)
MARKED = st.lists(
    st.sampled_from(
        ["plain words ", "**bold words** ", "`a b c` ", "[text](https://a.example/b) ", r"\*\_ "]
    ),
    max_size=40,
).map("".join)


@settings(deadline=None)
@given(title=TEXTS, description=TEXTS, fields=FIELDS, footer=TEXTS)
def test_a_card_keeps_every_limit_for_any_content(
    title: str, description: str, fields: tuple[Field, ...], footer: str
) -> None:
    card = Card(title=title, description=description, fields=fields, footer=footer)

    assert length(card.title) <= 256
    assert length(card.description) <= 4096
    assert length(card.footer) <= 2048
    assert len(card.fields) <= 25
    assert all(0 < length(field.name) <= 256 for field in card.fields)
    assert all(0 < length(field.value) <= 1024 for field in card.fields)
    assert all(field.name.strip() and field.value.strip() for field in card.fields)
    texts = [card.title, card.description, card.footer]
    texts += [text for field in card.fields for text in (field.name, field.value)]
    assert sum(map(length, texts)) <= 6000


def test_card_within_the_limits_stays_as_it_is() -> None:
    fields = (Field("a", "b", inline=True), Field("c", "d"))

    card = Card("title", "text", 1, fields, "footer", "attachment://chart.png")

    assert card.fields == fields
    assert (card.title, card.description, card.footer) == ("title", "text", "footer")
    assert card.image == "attachment://chart.png"


def test_fields_that_do_not_fit_leave_a_sign() -> None:
    card = Card("title", fields=tuple(Field("name", "a word " * 100) for _ in range(30)))

    assert 0 < len(card.fields) < 30
    assert [field.value for field in card.fields][-1].endswith("…")


@settings(deadline=None)
@given(text=MARKED, limit=st.integers(min_value=1, max_value=120))
def test_cut_ends_between_marks(text: str, limit: int) -> None:
    found = cut(text, limit)

    assert length(found) <= limit
    assert found == text or found.endswith("…")
    rest = re.sub(r"\\.|\*\*[^*]+\*\*|`[^`]+`|\[[^\]]*\]\([^)]*\)", "", found)
    assert not re.search(r"[*`\[\]()\\]", rest)


def test_cut_splits_a_word_only_if_nothing_else_would_be_left() -> None:
    assert cut("a very long sentence", 12) == "a very long…"
    assert cut("x" * 30, 10) == "x" * 9 + "…"


def test_cut_counts_as_discord_does_and_splits_no_character() -> None:
    found = cut("😀" * 10, 8)

    assert found == "😀😀😀…"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("my_file_name.mp4", "my_file_name.mp4"),
        ("_x_.mp4", r"_x\_.mp4"),
        ("**a** `b` ~~c~~ ||d||", r"\*\*a\*\* \`b\` \~\~c\~\~ \|\|d\|\|"),
        ("[x](y) <@1>", r"\[x](y) \<@1>"),
        ("# a\n- b\n> c", "\\# a\n\\- b\n\\> c"),
        ("a\\b", "a\\\\b"),
    ],
)
def test_escaped_text_is_shown_as_it_is(text: str, shown: str) -> None:
    assert escape(text) == shown


def test_lines_that_do_not_fit_are_counted() -> None:
    lines = [f"line {number}" for number in range(100)]

    found = join_lines(lines, 100)

    assert length(found) <= 100
    shown = found.splitlines()
    assert shown[-1] == f"and {100 - (len(shown) - 1)} more"


def test_one_line_holds_no_control_characters() -> None:
    assert one_line("a\n\tb\x1b[31m c") == "a b [31m c"
