"""Counts, predicates and lists in messages."""

from training.wording import agreeing, count, listed, listed_sentences, plural


def test_a_long_list_is_cut_and_counted() -> None:
    assert listed(["a", "b"]) == "a, b"
    assert listed(list("abcdefg")) == "a, b, c, d, e and 2 more"
    assert listed(list("abc"), most=2) == "a, b and 1 more"


def test_sentences_are_cut_and_counted_as_well() -> None:
    assert listed_sentences(["A.", "B."]) == "A. B."
    assert listed_sentences(["A.", "B.", "C."], most=1) == "A. And 2 more."


def test_a_predicate_agrees_with_its_number() -> None:
    assert agreeing(1, "has no alpha") == "has no alpha"
    assert agreeing(0, "is missing") == agreeing(2, "is missing") == "are missing"
    assert plural("does not fit") == "do not fit"


def test_counts_agree_with_their_nouns() -> None:
    assert count(1, "layer") == "1 layer"
    assert count(1512, "layer") == "1,512 layers"
    assert count(2, "entry", "entries") == "2 entries"
