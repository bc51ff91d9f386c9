"""Judges all captions of a dataset together: what they share, and what none of them mentions."""

from collections.abc import Sequence

from training.dataset.captions.mentions import unmentioned
from training.dataset.captions.phrases import Phrase, alike, shared_phrases, shared_words
from training.dataset.captions.words import words_of
from training.dataset.findings.findings import Noted, whole_set
from training.dataset.report import Finding, Note, Sample

FEWEST_CAPTIONS = 8  # fewer have too much in common by chance
_FEWEST_ALIKE, _ALIKE_SHARE = 3, 0.1  # fewer do no harm in a dataset of many other captions
_MOST_PHRASES, _MOST_WORDS = 3, 12
# Findings that depend only on the texts of all captions together.
OF_ALL_CAPTIONS = frozenset(
    ("caption-alike", "captions-share-phrase", "captions-share-words", "captions-leave-out")
)


def judge_captions(
    samples: Sequence[Sample], trigger: str | None
) -> tuple[list[Finding], list[Noted]]:
    """Return findings on all captions together, and notes on single captions."""
    described = [sample for sample in samples if sample.caption]
    captions = [sample.caption for sample in described]
    if len(captions) < FEWEST_CAPTIONS or len(set(captions)) == 1:
        return [], []
    words = [words_of(caption, trigger) for caption in captions]
    findings: list[Finding] = []
    if trigger:  # a trigger word that is not declared would be taken for a shared phrase
        phrases = shared_phrases(captions, words)
        findings += _about_phrases(phrases, len(captions))
        named = {word for phrase in phrases for word in phrase.words}
        findings += _about_words([word for word in shared_words(words) if word not in named])
    of_clips = [sample.caption for sample in described if sample.kind == "video"]
    findings += _about_gaps(unmentioned(captions, of_clips, FEWEST_CAPTIONS))
    return findings, _alike(described, alike(words))


def _about_phrases(phrases: Sequence[Phrase], total: int) -> list[Finding]:
    if not phrases:
        return []
    shown = [f"“{one.text}” ({one.captions} of {total})" for one in phrases[:_MOST_PHRASES]]
    is_one = len(shown) == 1
    return [whole_set("captions-share-phrase", _joined(shown), is_one=is_one)]


def _about_words(words: Sequence[str]) -> list[Finding]:
    if not words:
        return []
    shown = _joined([f"“{word}”" for word in words[:_MOST_WORDS]])
    subject = f"The word {shown}" if len(words) == 1 else f"The words {shown}"
    return [whole_set("captions-share-words", subject, is_one=len(words) == 1)]


def _about_gaps(titles: Sequence[str]) -> list[Finding]:
    if not titles:
        return []
    subject = _joined(titles)
    subject = subject[0].upper() + subject[1:]
    return [whole_set("captions-leave-out", subject, is_one=len(titles) == 1)]


def _alike(samples: Sequence[Sample], pairs: dict[int, int]) -> list[Noted]:
    if len(pairs) < max(_FEWEST_ALIKE, _ALIKE_SHARE * len(samples)):
        return []
    return [
        Noted(
            samples[index].source,
            samples[index].kind,
            Note(code="caption-alike", detail=f"like {samples[first].source}"),
        )
        for index, first in pairs.items()
    ]


def _joined(parts: Sequence[str]) -> str:
    """Join parts: "a, b and c"."""
    return " and ".join(filter(None, (", ".join(parts[:-1]), *parts[-1:])))
