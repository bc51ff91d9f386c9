"""Datasets for tests of messages."""

from datetime import UTC, datetime

from training.dataset.report import Finding, Kind, Report, Sample, Severity
from training.registry.datasets import DatasetVersion


def a_sample(name: str, kind: Kind, frames: int | None = None, caption: str = "annika") -> Sample:
    return Sample(
        name=name,
        source=name,
        kind=kind,
        caption=caption,
        sha256="0" * 64,
        width=1280,
        height=720,
        frames=frames,
        seconds=frames / 16 if frames else None,
        frames_16fps=frames,
    )


def a_finding(code: str = "few", severity: Severity = "warning", cause: str = "Few.") -> Finding:
    return Finding(
        code=code, severity=severity, file=None, cause=cause, fix="Add more.", repaired=False
    )


def a_report(*findings: Finding, clips: int = 4) -> Report:
    images = [a_sample(f"images/{n}.png", "image") for n in range(6)]
    videos = [a_sample(f"videos/{n}.mp4", "video", 33 + 16 * n) for n in range(clips)]
    return Report(version="c" * 32, samples=(*images, *videos), findings=findings)


def a_version(number: int = 1, name: str = "annika") -> DatasetVersion:
    return DatasetVersion(
        name=name,
        number=number,
        version="c" * 32,
        images=6,
        clips=4,
        added_at=datetime(2026, 8, 1, tzinfo=UTC),
        added_by="7",
        file_name="annika.zip",
    )
