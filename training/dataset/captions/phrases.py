"""Finds what the captions of a dataset have in common: phrases, words, or nearly all."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from training.dataset.captions.words import Word, texts

NEARLY_EVERY = 0.8  # of the captions
_LIKENESS = 0.85  # share of the words that two nearly equal captions have in common
_LONGEST_PHRASE = 12  # words
_FEWEST_TELLING = 2  # of a phrase; a single word may be meant to stand in every caption

Words = tuple[Word, ...]
Texts = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Phrase:
    """A phrase as it stands in the first caption that contains it.

    Attributes:
        captions: Number of captions that contain it.
    """

    text: str
    captions: int
    words: Texts


def shared_phrases(captions: Sequence[str], words: Sequence[Words]) -> list[Phrase]:
    """Return the longest phrases of two or more telling words that nearly every caption contains.

    Args:
        captions: The captions.
        words: The words of each caption, without the trigger word.
    """
    needed = math.ceil(NEARLY_EVERY * len(captions))
    known = Counter(word for one in words for word in set(texts(one)))
    frequent = {word for word, count in known.items() if count >= needed}
    counts: Counter[Texts] = Counter()
    firsts: dict[Texts, str] = {}
    for caption, one in zip(captions, words, strict=True):
        spans = {texts(span): span for span in _spans(one, frequent)}
        counts.update(spans.keys())
        for phrase, span in spans.items():
            firsts.setdefault(phrase, caption[span[0].start : span[-1].end])
    often = [phrase for phrase, count in counts.items() if count >= needed]
    return [Phrase(firsts[phrase], counts[phrase], phrase) for phrase in _longest(often)]


def _spans(words: Words, frequent: set[str]) -> Iterator[Words]:
    """Yield the parts of a clause that may be a phrase: they begin and end with telling words."""
    for run in _runs(words, frequent):
        telling = [at for at, word in enumerate(run) if word.is_telling]
        for index, start in enumerate(telling):
            for end in telling[index + _FEWEST_TELLING - 1 :]:
                if end - start < _LONGEST_PHRASE:
                    yield run[start : end + 1]


def _runs(words: Words, frequent: set[str]) -> Iterator[Words]:
    """Yield the longest parts of a caption in one clause and of frequent words only."""
    run: list[Word] = []
    for word in words:
        if run and (word.clause != run[-1].clause or word.text not in frequent):
            yield tuple(run)
            run.clear()
        if word.text in frequent:
            run.append(word)
    if run:
        yield tuple(run)


def _longest(phrases: Sequence[Texts]) -> list[Texts]:
    """Return the phrases that are not a part of another one, longest first."""
    kept: list[Texts] = []
    for phrase in sorted(phrases, key=lambda phrase: (-len(phrase), phrase)):
        if not any(_contains(longer, phrase) for longer in kept):
            kept.append(phrase)
    return kept


def _contains(longer: Texts, phrase: Texts) -> bool:
    size = len(phrase)
    return any(longer[at : at + size] == phrase for at in range(len(longer) - size + 1))


def shared_words(words: Sequence[Words]) -> list[str]:
    """Return the telling words that every caption contains, in the order of the first caption.

    Single Chinese characters are left out, because they seldom are words.
    """
    common = set(texts(words[0])).intersection(*map(texts, words[1:]))
    found = (word for word in words[0] if word.text in common and word.is_telling)
    return list(dict.fromkeys(word.text for word in found if len(word.text) > 1))


def alike(words: Sequence[Words]) -> dict[int, int]:
    """Return the captions that nearly equal an earlier one: their index, and that of the first.

    Captions of the trigger word alone are left out.
    """
    sets = [frozenset(texts(one)) for one in words]
    known = Counter(word for one in sets for word in one)
    bits = {word: 1 << index for index, word in enumerate(known)}
    # Sets as the bits of integers are compared ten times as fast.
    masks = [sum(bits[word] for word in one) for one in sets]
    holders: dict[str, list[int]] = defaultdict(list)
    found: dict[int, int] = {}
    for index, one in enumerate(sets):
        # Two nearly equal sets share one of their rarest words, so most pairs are never compared.
        rarest = sorted(one, key=lambda word: (known[word], word))
        rarest = rarest[: len(one) - math.ceil(_LIKENESS * len(one)) + 1]
        earlier = sorted({other for word in rarest for other in holders[word]})
        first = next((other for other in earlier if _is_like(masks[other], masks[index])), None)
        if first is not None:
            found[index] = first
            continue  # later captions are compared with the first of those that are alike
        for word in rarest:
            holders[word].append(index)
    return found


def _is_like(one: int, other: int) -> bool:
    return (one & other).bit_count() >= _LIKENESS * (one | other).bit_count()
