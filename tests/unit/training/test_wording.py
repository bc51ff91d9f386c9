"""Names in a sentence: the first few, and how many more."""

from training.wording import listed


def test_a_long_list_is_cut_and_counted() -> None:
    assert listed(["a", "b"]) == "a, b"
    assert listed(list("abcdefg")) == "a, b, c, d, e and 2 more"
    assert listed(list("abc"), most=2) == "a, b and 1 more"
