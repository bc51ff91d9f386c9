"""Uses a dataset as it was uploaded, if training can read it.

Images and clips keep their bytes but get ASCII names. Captions are written as for a repaired
dataset. The trainer accepts only one frame rate per folder, so clips are sorted into folders by
rate.
"""

from training.dataset.config.frame_windows import FPS, kept_frames
from training.dataset.report import Finding, Media, Report, Sample, content_id
from training.errors import DatasetError
from training.wording import listed

# Codes of findings on files that the trainer would misread, each with the reason. Other findings do
# not prevent training on the files as they are.
_IN_THE_WAY = {
    "rotated": "the trainer ignores the rotation flag",
    "non-square-pixels": "the trainer would see stretched pictures",
    "variable-fps": "the trainer assumes a constant frame rate",
    "low-fps": "the trainer does not repeat frames, so slow clips would play too fast",
    "wrong-extension": "the extension does not match the content",
    "converted-type": "the trainer cannot read this type",
    "alpha-channel": "the trainer only takes three colour channels",
    "opaque-alpha": "the trainer only takes three colour channels",
    "sixteen-bit": "the trainer only reads 8 bits",
    "interlaced": "the trainer does not deinterlace",
    "colour-profile": "the trainer ignores colour profiles",
    "several-streams": "the trainer reads the first video track",
}
_KNOWN_RATES = (16.0, 23.976, 24.0, 25.0, 29.97, 30.0, 48.0, 50.0, 59.94, 60.0)
_TOLERANCE = 0.05  # frames per second; the same as in the inspection


def why_not_original(report: Report) -> str | None:
    """Return why a dataset cannot be used as it was uploaded; None if it can."""
    if report.errors:
        return report.errors[0].cause
    found = [finding for finding in report.findings if finding.code in _IN_THE_WAY]
    if found:
        return " ".join(f"{listed(f.files)}: {_IN_THE_WAY[f.code]}." for f in found)
    return None


def used_as(inspected: Report, media: Media) -> Report:
    """Return the report for training on the repaired dataset, or on the files as uploaded."""
    return as_original(inspected) if media == "original" else inspected


def as_original(report: Report) -> Report:
    """Return the report for training on the files as uploaded, given the inspection's report.

    Raises:
        DatasetError: The trainer cannot read the files without a repair.
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
            "findings": tuple(_not_repaired(finding) for finding in report.findings),
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
    """Return a clip's nominal frame rate: 29.97, say, if its rounded timestamps average 29.96."""
    mean = clip.fps or float(FPS)
    nearest = min(_KNOWN_RATES, key=lambda rate: abs(rate - mean))
    return nearest if abs(nearest - mean) <= _TOLERANCE else round(mean, 2)


def _not_repaired(finding: Finding) -> Finding:
    """Return the finding without its promise of a repair: its fix becomes "Left unchanged"."""
    if not finding.repaired or finding.code in _STILL_DONE:
        return finding
    return finding.model_copy(update={"repaired": False, "fix": "Left unchanged, as requested."})


# Findings about names, captions and unused files, and about wide colours, which are converted while
# clips are read. The repairs that they promise are also made for a dataset that is used as
# uploaded.
_STILL_DONE = frozenset(
    {
        *("caption-encoding", "caption-name", "extension-case", "same-stem", "renamed"),
        *("name-encoding", "wide-colours"),
        *("junk-ignored", "leftover-cache", "toml-unused", "toml-found", "other-file"),
    }
)
