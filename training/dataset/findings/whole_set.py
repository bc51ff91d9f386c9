"""Finds flaws of a whole set: copies, equal captions, too few samples."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from training.dataset.captions.caption import holds_trigger
from training.dataset.config.buckets import bucket_of, enlargement
from training.dataset.config.guide_groups import CLIPS_UNIFORM
from training.dataset.findings.findings import Noted, whole_set
from training.dataset.report import Finding, Kind, MediaFacts, Note, Sample

FEWEST_SAMPLES = 5
FEWEST_TO_COMPARE = 3
NEAR_BITS = 3  # of 64, in every compared picture
FEWEST_IMAGE_PIXELS = 480 * 480
LARGEST_ENLARGEMENT = 1.25  # 832 x 480 fits into the smallest group's 960 x 544
LARGEST_ASPECT = 2.5  # cinemascope is 2.39

Pairs = Sequence[tuple[Sample, MediaFacts]]
Prints = NDArray[np.uint64]


def judge_set(samples: Pairs, media: int, trigger: str | None, noted: list[Noted]) -> list[Finding]:
    """Return findings about the whole set; append notes about single files to `noted`.

    Args:
        samples: The samples that could be decoded.
        media: Number of images and clips, including damaged ones.
        trigger: A word that every caption should contain.
        noted: Receives the notes.
    """
    if not samples:
        return [whole_set("no-samples", "None of the files", is_one=True)]
    findings: list[Finding] = []
    if media < FEWEST_SAMPLES:
        few = "The only sample" if media == 1 else f"The {media} samples"
        findings.append(whole_set("too-few-samples", few, is_one=media == 1))
    alone = [sample for sample, _ in samples]
    findings += equal_captions(alone)
    noted += without_trigger(alone, trigger)
    noted += _copies(samples)
    noted += [
        Noted(sample.source, sample.kind, note)
        for sample, _ in samples
        for note in _size_notes(sample)
    ]
    return findings


def _size_notes(sample: Sample) -> list[Note]:
    size = (sample.width, sample.height)
    detail = f"{sample.width} x {sample.height}"
    notes: list[Note] = []
    if sample.kind == "image":
        is_low = sample.width * sample.height < FEWEST_IMAGE_PIXELS
    else:
        bucket = bucket_of(size, CLIPS_UNIFORM.resolution)
        is_low = enlargement(size, bucket) > LARGEST_ENLARGEMENT
    if is_low:
        notes.append(Note(code="low-resolution", detail=detail))
    if max(size) > LARGEST_ASPECT * min(size):
        notes.append(Note(code="extreme-aspect", detail=detail))
    return notes


def equal_captions(samples: Sequence[Sample]) -> list[Finding]:
    """Return a finding if all captions are equal."""
    captions = {sample.caption for sample in samples if sample.caption}
    if len(captions) != 1 or len(samples) < FEWEST_TO_COMPARE:
        return []
    return [whole_set("captions-all-equal", f"All {len(samples)} samples")]


def without_trigger(samples: Sequence[Sample], trigger: str | None) -> list[Noted]:
    """Return a note for every sample whose caption lacks the trigger word."""
    if not trigger:
        return []
    return [
        Noted(sample.source, sample.kind, Note(code="trigger-missing"))
        for sample in samples
        if sample.caption and not holds_trigger(sample.caption, trigger)
    ]


def _copies(samples: Pairs) -> list[Noted]:
    comparable: dict[tuple[Kind, int], list[tuple[Sample, MediaFacts]]] = {}
    for sample, facts in samples:
        comparable.setdefault((sample.kind, len(facts.prints)), []).append((sample, facts))
    return [noted for pairs in comparable.values() for noted in _copies_among(pairs)]


def _copies_among(samples: Pairs) -> Iterator[Noted]:
    """Yield a note for each sample that repeats or resembles an earlier one."""
    prints = _prints(samples)
    firsts: dict[str, int] = {}
    for index, (sample, _) in enumerate(samples):
        same = firsts.setdefault(sample.sha256, index)
        near = _first_like(prints[:index], prints[index])
        other = min(same, index if near is None else near)
        if other == index:
            continue
        code = "exact-duplicate" if samples[other][0].sha256 == sample.sha256 else "near-duplicate"
        note = Note(code=code, detail=f"like {samples[other][0].source}")
        yield Noted(sample.source, sample.kind, note)


def _prints(samples: Pairs) -> Prints:
    """Return the perceptual hashes [sample, picture]."""
    hashes = [facts.prints for _, facts in samples]
    return np.array(hashes, np.uint64).reshape(len(hashes), -1)


def _first_like(earlier: Prints, prints: Prints) -> int | None:
    if not prints.size:
        return None
    # Vectorized: thousands of samples make millions of pairs.
    is_like = (np.bitwise_count(earlier ^ prints) <= NEAR_BITS).all(axis=1)
    return int(is_like.argmax()) if is_like.any() else None
