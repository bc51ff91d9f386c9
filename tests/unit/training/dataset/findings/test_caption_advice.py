"""Captions that describe the trigger, or that are alike or bare, are named; good ones are not."""

from collections.abc import Sequence

import pytest

from tests.unit.training.dataset.findings.caption_sets import GOOD, SETS
from tests.unit.training.dataset.samples import clip, image, report
from training.dataset.captions.caption import holds_trigger
from training.dataset.findings.captions import judge_captions
from training.dataset.findings.rules import RULES
from training.dataset.recaption import recaption
from training.dataset.report import Finding, Sample

CHARACTER, DESCRIBED = SETS["good character"], SETS["described character"]


def samples(captions: Sequence[str], *, are_clips: bool = False) -> list[Sample]:
    plain = [
        clip(49, f"{at:03}") if are_clips else image(f"{at:03}") for at in range(len(captions))
    ]
    pairs = zip(plain, captions, strict=True)
    return [sample.model_copy(update={"caption": text}) for sample, text in pairs]


def judged(
    captions: Sequence[str], trigger: str | None = "ann1ka", *, are_clips: bool = False
) -> dict[str, str]:
    """Return the causes of all findings on captions, by code."""
    findings, _ = judge_captions(samples(captions, are_clips=are_clips), trigger)
    return {finding.code: finding.cause for finding in findings}


def alike(captions: Sequence[str], trigger: str | None = "ann1ka") -> list[tuple[str, str]]:
    _, noted = judge_captions(samples(captions), trigger)
    return [(one.path, one.note.detail) for one in noted]


@pytest.mark.parametrize("are_clips", [False, True])
@pytest.mark.parametrize("name", GOOD)
def test_good_captions_give_no_finding(name: str, *, are_clips: bool) -> None:
    assert judged(SETS[name], are_clips=are_clips) == {}
    assert alike(SETS[name]) == []


def test_a_phrase_in_nearly_every_caption_is_named_as_it_is_written() -> None:
    found = judged(DESCRIBED)

    assert set(found) == {"captions-share-phrase"}
    assert found["captions-share-phrase"].startswith(
        "“long red hair” (9 of 10) stands in nearly every caption."
    )


@pytest.mark.parametrize(
    ("captions", "phrase"),
    [(SETS["described chinese"], "红色长发"), (SETS["described japanese"], "赤い髪")],
)
def test_a_phrase_is_found_where_no_spaces_separate_words(
    captions: Sequence[str], phrase: str
) -> None:
    assert judged(captions)["captions-share-phrase"].startswith(f"“{phrase}” (7 of 8)")


def test_phrases_are_not_judged_without_a_trigger_word() -> None:
    assert judged(DESCRIBED, None) == {}


def test_a_subject_named_by_one_plain_word_is_no_phrase() -> None:
    captions = [text.replace("ann1ka", "ann1ka, a woman,") for text in CHARACTER]

    assert judged(captions) == {}


def test_a_phrase_that_only_most_captions_contain_is_not_named() -> None:
    mixed = [*DESCRIBED, *CHARACTER[:3]]

    assert judged(mixed) == {}


def test_words_of_every_caption_are_listed_without_the_plain_ones() -> None:
    captions = [f"{text}, smiling, a woman, freckles" for text in SETS["good style"]]

    said = judged(captions)["captions-share-words"]
    assert said == "The words “smiling” and “freckles” stand in every caption."


def test_words_are_not_listed_twice() -> None:
    captions = [f"{text}, smiling, red hair" for text in SETS["good style"]]

    found = judged(captions)
    assert found["captions-share-words"] == "The word “smiling” stands in every caption."
    assert "“red hair” (8 of 8)" in found["captions-share-phrase"]


def test_what_no_caption_mentions_is_listed() -> None:
    found = judged(SETS["bare"], are_clips=True)

    said = found["captions-leave-out"]
    assert said.startswith("The camera (such as")
    assert "the light" in said
    assert "the place" in said
    assert "movement (" in said
    assert "are not mentioned in any caption." in said
    assert "movement (" not in judged(SETS["bare"])["captions-leave-out"]


def test_captions_in_unknown_languages_are_not_said_to_leave_something_out() -> None:
    assert judged([f"ann1ka bersama kucing ke-{at}" for at in range(10)], None) == {}


def test_samples_with_nearly_the_same_caption_are_named() -> None:
    long = "ann1ka stands in front of a white wall and looks into the camera, soft light, take"
    captions = [*CHARACTER, *(f"{long} {at}" for at in range(3)), f"{long}."]

    assert alike(captions) == [
        ("011.png", "like 010.png"), ("012.png", "like 010.png"), ("013.png", "like 010.png"),
    ]  # fmt: skip
    assert alike(captions[:-1]) == []


def test_captions_of_the_trigger_word_alone_are_not_alike() -> None:
    assert alike([*CHARACTER, *["ann1ka"] * 10]) == []


@pytest.mark.parametrize("count", range(8))
def test_few_captions_give_no_finding(count: int) -> None:
    assert judged(DESCRIBED[:count]) == {}
    assert alike(["ann1ka smiles"] * count) == []


def test_missing_captions_are_not_counted() -> None:
    captions = [*DESCRIBED, *[""] * 20]

    assert "(9 of 10)" in judged(captions)["captions-share-phrase"]


def test_thousands_of_captions_of_one_template_are_judged() -> None:
    captions = [f"ann1ka number {at} poses in front of a plain white wall" for at in range(5_000)]

    assert "plain white wall” (5000 of 5000)" in judged(captions)["captions-share-phrase"]
    assert len(alike(captions)) in (0, 4_999)


def test_new_captions_are_judged_together_with_the_old_ones() -> None:
    old = report(*samples(DESCRIBED))
    judged_once = recaption(old, {}, "ann1ka")
    changed = {sample.name: text for sample, text in zip(old.samples, CHARACTER, strict=True)}

    assert "captions-share-phrase" in judged_once.codes()
    assert judged_once.is_usable
    assert recaption(judged_once, {}, "ann1ka").findings == judged_once.findings
    assert recaption(judged_once, changed, "ann1ka").codes() == []


def test_findings_on_all_captions_never_forbid_training() -> None:
    captions = [f"{DESCRIBED[0]} {at}" for at in range(9)]
    findings, noted = judge_captions(samples(captions), "ann1ka")

    severities = {RULES[code].severity for code in _codes(findings, [n.note.code for n in noted])}
    assert severities <= {"warning", "info"}
    assert {"captions-share-phrase", "caption-alike"} <= _codes(
        findings, [n.note.code for n in noted]
    )


def _codes(findings: Sequence[Finding], codes: Sequence[str]) -> set[str]:
    return {*(finding.code for finding in findings), *codes}


@pytest.mark.parametrize(
    ("caption", "is_there"),
    [
        ("ann1kaが歩く", True), ("我看见ann1ka在海边", True), ("今日のann1kaは", True),
        ("ann1kas house", False), ("xann1ka", False), ("ann1ka1", False),
    ],
)  # fmt: skip
def test_a_trigger_word_may_adjoin_chinese_and_japanese(caption: str, *, is_there: bool) -> None:
    assert holds_trigger(caption, "ann1ka") is is_there
