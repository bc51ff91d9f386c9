"""A caption that is being written is judged as an inspection would judge it."""

import pytest

from training.dataset.sample_remarks import judge_caption

_LONG = " ".join(f"word{number}" for number in range(400))


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("ann1ka at a window", []),
        ("at a window", ["trigger-missing"]),
        ("  ", ["missing-caption"]),
        ("I'm sorry, but I can't assist with that request.", ["caption-failed", "trigger-missing"]),
        (f"ann1ka {_LONG}", ["caption-too-long"]),
    ],
)
def test_a_caption_is_judged(text: str, codes: list[str]) -> None:
    judged = judge_caption(text, "ann1ka")

    assert [remark.code for remark in judged.remarks] == codes
    assert judged.is_usable == ("missing-caption" not in codes and "caption-failed" not in codes)


def test_the_trigger_word_is_found_and_put_in_front_where_it_is_missing() -> None:
    has, lacks = judge_caption("An ANN1KA, ann1kas", "ann1ka"), judge_caption("a window", "ann1ka")

    assert (has.trigger, has.prefixed) == (((3, 9),), None)
    assert (lacks.trigger, lacks.prefixed) == ((), "ann1ka, a window")
    assert judge_caption("a window", None).prefixed is None
