"""Uses a dataset as it was uploaded, if training can read it.

Media keep their bytes and get plain names; captions are written as for a repaired dataset. The
trainer takes one frame rate per folder, so clips get one folder per rate.
"""

from training.dataset.config.frame_windows import FPS, kept_frames
from training.dataset.report import Finding, Media, Report, Sample, content_id
from training.errors import DatasetError
from training.wording import listed

# What the trainer would misread, as opposed to what repair merely improves.
_IN_THE_WAY = {
    "rotated": "the trainer ignores the rotation flag",
    "non-square-pixels": "the trainer would learn them stretched",
    "variable-fps": "the trainer assumes a constant frame rate",
    "low-fps": "the trainer does not repeat frames, so they would play too fast",
    "wrong-extension": "the extension does not match the content",
    "converted-type": "the trainer cannot read this type",
    "alpha-channel": "the trainer only takes three colour channels",
    "opaque-alpha": "the trainer only takes three colour channels",
    "sixteen-bit": "the trainer only reads 8 bits",
}
_KNOWN_RATES = (16.0, 23.976, 24.0, 25.0, 29.97, 30.0, 48.0, 50.0, 59.94, 60.0)
_TOLERANCE = 0.05  # frames per second, as in the inspection


def why_not_original(report: Report) -> str | None:
    """Return why a dataset cannot be used as uploaded, or None if it can."""
    if report.errors:
        return report.errors[0].cause
    found = [finding for finding in report.findings if finding.code in _IN_THE_WAY]
    if found:
        return " ".join(f"{listed(f.files)}: {_IN_THE_WAY[f.code]}." for f in found)
    return None


def used_as(inspected: Report, media: Media) -> Report:
    """Return the report of an inspected dataset, repaired or as uploaded.

    Raises:
        DatasetError: It must be repaired.
    """
    return as_original(inspected) if media == "original" else inspected


def as_original(report: Report) -> Report:
    """Return the report of the same dataset used as uploaded.

    Raises:
        DatasetError: It must be repaired.
    """
    if report.media == "original":
        return report
    if (reason := why_not_original(report)) is not None:
        raise DatasetError(
            f"This dataset cannot be used as it was uploaded. {reason}",
            "Use the repaired version, or fix these files and upload the zip again.",
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
    """Return the nominal frame rate; time stamps are rounded, so the mean is not exact."""
    mean = clip.fps or float(FPS)
    nearest = min(_KNOWN_RATES, key=lambda rate: abs(rate - mean))
    return nearest if abs(nearest - mean) <= _TOLERANCE else round(mean, 2)


def _said(finding: Finding) -> Finding:
    """Return the finding without its promise to repair."""
    if not finding.repaired or finding.code in _STILL_DONE:
        return finding
    return finding.model_copy(update={"repaired": False, "fix": "Left as it is, as requested."})


# Names, captions and unused files are handled in either case.
_STILL_DONE = frozenset(
    {
        *("caption-encoding", "caption-name", "extension-case", "same-stem", "renamed"),
        *("junk-ignored", "leftover-cache", "toml-unused", "toml-found", "other-file"),
    }
)
