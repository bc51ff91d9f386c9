"""Judges all samples of a dataset together: copies, equal captions, sizes, too few samples."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from training.dataset.captions.caption import holds_trigger
from training.dataset.config.buckets import bucket_of, enlargement
from training.dataset.config.guide_groups import SIZES
from training.dataset.findings.captions import judge_captions
from training.dataset.findings.findings import Noted, whole_set
from training.dataset.report import Finding, Kind, MediaFacts, Note, Sample

FEWEST_SAMPLES = 5
FEWEST_TO_COMPARE = 3  # fewer equal captions are not reported
NEAR_BITS = 3  # hashes of near duplicates differ in at most this many of 64 bits
FEWEST_IMAGE_PIXELS = 480 * 480
# 832 x 480 may be enlarged to 960 x 544, the smallest size at 720p.
LARGEST_ENLARGEMENT = 1.25
LARGEST_ASPECT = 2.5  # slightly more than CinemaScope's 2.39

Pairs = Sequence[tuple[Sample, MediaFacts]]
Prints = NDArray[np.uint64]


def judge_set(samples: Pairs, media: int, trigger: str | None, noted: list[Noted]) -> list[Finding]:
    """Return findings on the whole dataset; append notes on single files to `noted`.

    `media` is the total number of images and clips. `samples` holds those that could be decoded.
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
    about_captions, alike = judge_captions(alone, trigger)
    findings += about_captions
    noted += alike
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
        if sample.width * sample.height < FEWEST_IMAGE_PIXELS:
            notes.append(Note(code="small-image", detail=detail))
    elif enlargement(size, bucket_of(size, SIZES["720p"].long)) > LARGEST_ENLARGEMENT:
        notes.append(Note(code="low-resolution", detail=detail))
    if max(size) > LARGEST_ASPECT * min(size):
        notes.append(Note(code="extreme-aspect", detail=detail))
    return notes


def equal_captions(samples: Sequence[Sample]) -> list[Finding]:
    captions = [sample.caption for sample in samples if sample.caption]
    if len(set(captions)) != 1 or len(captions) < FEWEST_TO_COMPARE:
        return []
    which = "samples" if len(captions) == len(samples) else "samples with a caption"
    return [whole_set("captions-all-equal", f"All {len(captions)} {which}")]


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
    """Yield a note on each sample that is equal or similar to an earlier one."""
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
    """Return the perceptual hashes of all samples, as an array [sample, hash]."""
    hashes = [facts.prints for _, facts in samples]
    return np.array(hashes, np.uint64).reshape(len(hashes), -1)


def _first_like(earlier: Prints, prints: Prints) -> int | None:
    if not prints.size:
        return None
    # Compare in numpy, because thousands of samples make millions of pairs.
    is_like = (np.bitwise_count(earlier ^ prints) <= NEAR_BITS).all(axis=1)
    return int(is_like.argmax()) if is_like.any() else None
