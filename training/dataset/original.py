"""A dataset used as it was uploaded: which can be, and what training then reads.

The media keep their bytes and get plain names; captions are written as for a repaired set. The
trainer is told one frame rate for each folder, so clips lie in one folder for each rate.
"""

from training.dataset.config.frame_windows import FPS, kept_frames
from training.dataset.report import Finding, Media, Report, Sample, content_id
from training.errors import DatasetError
from training.wording import listed

# What the trainer would read wrongly, not only what repair would make better.
_IN_THE_WAY = {
    "rotated": "the trainer ignores the mark that turns them",
    "non-square-pixels": "the trainer would learn them stretched",
    "variable-fps": "the trainer knows one frame rate for all of a clip",
    "low-fps": "the trainer repeats no frames, so they would play too fast",
    "wrong-extension": "their names hide what they are",
    "converted-type": "the trainer does not know their type",
    "alpha-channel": "the trainer takes three colour channels only",
    "opaque-alpha": "the trainer takes three colour channels only",
    "sixteen-bit": "the trainer reads 8 bits",
}
_KNOWN_RATES = (16.0, 23.976, 24.0, 25.0, 29.97, 30.0, 48.0, 50.0, 59.94, 60.0)
_TOLERANCE = 0.05  # frames a second, as the inspection has it


def why_not_original(report: Report) -> str | None:
    """Return why a set cannot be used as it was uploaded, or None where it can be."""
    if report.errors:
        return report.errors[0].cause
    found = [finding for finding in report.findings if finding.code in _IN_THE_WAY]
    if found:
        return " ".join(f"{listed(f.files)}: {_IN_THE_WAY[f.code]}." for f in found)
    return None


def used_as(inspected: Report, media: Media) -> Report:
    """Return the report of an inspected set for one of its uses.

    Raises:
        DatasetError: It can only be used repaired.
    """
    return as_original(inspected) if media == "original" else inspected


def as_original(report: Report) -> Report:
    """Return the report of the same set used as it was uploaded.

    Raises:
        DatasetError: It can only be used repaired.
    """
    if report.media == "original":
        return report
    if (reason := why_not_original(report)) is not None:
        raise DatasetError(
            f"This dataset cannot be used as it was uploaded. {reason}",
            "Use it as repaired, or correct these files and upload it again.",
        )
    rates = {sample.name: _rate(sample) for sample in report.clips}
    is_mixed = len(set(rates.values())) > 1
    samples = [
        _kept(sample, rates.get(sample.name), is_mixed=is_mixed) for sample in report.samples
    ]
    samples.sort(key=lambda sample: sample.name)
    return report.model_copy(
        update={
            "version": content_id(samples, "original"),
            "samples": tuple(samples),
            "findings": tuple(_said(finding) for finding in report.findings),
            "media": "original",
        }
    )


def _kept(sample: Sample, rate: float | None, *, is_mixed: bool) -> Sample:
    folder, stem = sample.folder, sample.name.rpartition("/")[2].rpartition(".")[0]
    extension = "." + sample.source.rpartition(".")[2].lower()
    if rate is None:
        return sample.model_copy(update={"name": f"{folder}/{stem}{extension}", "is_copied": True})
    if is_mixed:
        folder = f"{folder}-{rate:g}fps"
    return sample.model_copy(
        update={
            "name": f"{folder}/{stem}{extension}",
            "is_copied": True,
            "stored_fps": rate,
            "frames_16fps": kept_frames(sample.frames or 0, rate),
        }
    )


def _rate(clip: Sample) -> float:
    """Return the nominal frame rate: time stamps are rounded, and so is the mean of them."""
    mean = clip.fps or float(FPS)
    nearest = min(_KNOWN_RATES, key=lambda rate: abs(rate - mean))
    return nearest if abs(nearest - mean) <= _TOLERANCE else round(mean, 2)


def _said(finding: Finding) -> Finding:
    """Return a finding without the promise to repair."""
    if not finding.repaired or finding.code in _STILL_DONE:
        return finding
    return finding.model_copy(update={"repaired": False, "fix": "Left as it is, as asked."})


# Names, captions and files of no use are set right in either case.
_STILL_DONE = frozenset(
    {
        *("caption-encoding", "caption-name", "extension-case", "same-stem", "renamed"),
        *("junk-ignored", "leftover-cache", "toml-unused", "toml-found", "other-file"),
    }
)
