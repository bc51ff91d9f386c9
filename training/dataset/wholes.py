"""What can only be said about a set as a whole: copies, equal captions, too few samples."""

from collections.abc import Sequence

from training.dataset.buckets import bucket_of, enlargement
from training.dataset.caption import holds_trigger
from training.dataset.facts import MediaFacts, Note
from training.dataset.findings import Noted, whole_set
from training.dataset.groups import CLIPS_UNIFORM
from training.dataset.looks import distance
from training.dataset.report import Finding, Sample

FEWEST_SAMPLES = 5
FEWEST_TO_COMPARE = 3
NEAR_BITS = 3  # of 64, in every compared picture
FEWEST_IMAGE_PIXELS = 480 * 480
LARGEST_ENLARGEMENT = 1.25  # 832 x 480 fits into the smallest group's 960 x 544
LARGEST_ASPECT = 2.5  # cinemascope is 2.39

Pairs = Sequence[tuple[Sample, MediaFacts]]


def judge_set(samples: Pairs, media: int, trigger: str | None, noted: list[Noted]) -> list[Finding]:
    """Return findings about the whole set; notes about single files go to `noted`.

    Args:
        samples: What could be decoded.
        media: How many images and clips there are, damaged ones too.
        trigger: A word that every caption should hold.
        noted: Is added to.
    """
    if not samples:
        return [whole_set("no-samples", "None of the files")]
    findings: list[Finding] = []
    if media < FEWEST_SAMPLES:
        few = "The only sample" if media == 1 else f"The {media} samples"
        findings.append(whole_set("too-few-samples", few))
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
        bucket = bucket_of(size, CLIPS_UNIFORM.resolution, no_upscale=False)
        is_low = enlargement(size, bucket) > LARGEST_ENLARGEMENT
    if is_low:
        notes.append(Note(code="low-resolution", detail=detail))
    if max(size) > LARGEST_ASPECT * min(size):
        notes.append(Note(code="extreme-aspect", detail=detail))
    return notes


def equal_captions(samples: Sequence[Sample]) -> list[Finding]:
    """Return the finding that all captions are the same text, if they are."""
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
    noted: list[Noted] = []
    for index, (sample, facts) in enumerate(samples):
        for other, other_facts in samples[:index]:
            code = _likeness(sample, facts, other, other_facts)
            if code:
                note = Note(code=code, detail=f"like {other.source}")
                noted.append(Noted(sample.source, sample.kind, note))
                break
    return noted


def _likeness(sample: Sample, facts: MediaFacts, other: Sample, of_other: MediaFacts) -> str | None:
    if sample.kind != other.kind:
        return None
    if sample.sha256 == other.sha256:
        return "exact-duplicate"
    if not facts.prints or len(facts.prints) != len(of_other.prints):
        return None
    pairs = zip(facts.prints, of_other.prints, strict=True)
    return "near-duplicate" if all(distance(a, b) <= NEAR_BITS for a, b in pairs) else None
