"""Writes the repaired dataset that a report describes; equal zips give equal bytes."""

import shutil
import tempfile
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

from training.dataset.decoding.messages import Convert, DecoderReply
from training.dataset.decoding.pool import MOST_CONVERTING, Pool
from training.dataset.limits import Limits
from training.dataset.manifest import (
    MANIFEST,
    MEDIA_FOLDERS,
    Manifest,
    describe_file,
    read_manifest,
    verify_manifest,
    write_manifest,
)
from training.dataset.report import Report, Sample
from training.dataset.zip.archive import Archive, open_archive
from training.dataset.zip.member_names import Member
from training.errors import DatasetError
from training.files.atomic import atomic_file, atomic_write

CHECK_AGAIN = "Check the dataset again with the original zip."

__all__ = ["Manifest", "repair", "verify_manifest"]


def _no_progress(done: int, total: int) -> None:
    """Report nothing."""


def repair(
    archive: Path,
    report: Report,
    target: Path,
    *,
    limits: Limits | None = None,
    on_progress: Callable[[int, int], None] = _no_progress,
) -> Manifest:
    """Write the dataset to `target`, resuming an interrupted repair.

    For a report of the dataset as uploaded, copies the files of the zip under plain names.

    Args:
        archive: The zip that was inspected.
        report: The result of `inspect_zip`.
        target: A folder that does not exist, is empty, or already has this dataset.
        limits: The limits of the inspection.
        on_progress: Called with the number of written samples and their total.

    Raises:
        DatasetError: The report has errors, the zip has changed, or `target` is in use.
    """
    limits = limits or Limits()
    _refuse_errors(report)
    if (done := _already_there(target, report)) is not None:
        return done
    # Next to the target, so that the final rename is atomic; named by content, so that the next
    # repair of the same zip finds what an interrupted one wrote.
    partial = target.with_name(f".{target.name}.{report.version}.partial")
    for folder in sorted({*MEDIA_FOLDERS, *(sample.folder for sample in report.samples)}):
        (partial / folder).mkdir(parents=True, exist_ok=True)
    with open_archive(archive, limits) as opened:
        _write_all(opened, report, partial, on_progress)
    manifest = _finish(partial, report)
    if target.exists():
        target.rmdir()  # empty, as asked above
    partial.rename(target)
    return manifest


def _refuse_errors(report: Report) -> None:
    if report.errors:
        first, others = report.errors[0], len(report.errors) - 1
        more = f" ({others} more)" if others else ""
        raise DatasetError(f"{first.cause}{more}", first.fix)


def _already_there(target: Path, report: Report) -> Manifest | None:
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return None
    if not (target / MANIFEST).is_file() or read_manifest(target).version != report.version:
        raise DatasetError(
            f"{target.name} already contains something else.",
            "Choose a folder that does not exist yet, or empty this one.",
        )
    return verify_manifest(target)


def _write_all(
    archive: Archive, report: Report, partial: Path, on_progress: Callable[[int, int], None]
) -> None:
    members = {member.path: member for member in archive.members}
    missing = [sample for sample in report.samples if not (partial / sample.name).exists()]
    written = total = len(report.samples)
    written -= len(missing)
    size_bytes = sum(members[s.source].size_bytes for s in missing if s.source in members)
    with (
        tempfile.TemporaryDirectory(prefix="dataset-") as scratch,
        Pool(archive.limits, len(missing), size_bytes, most=MOST_CONVERTING) as pool,
    ):
        waiting: deque[tuple[Sample, Path, Path, Future[DecoderReply]]] = deque()
        for sample in missing:
            waiting.append(_start(archive, members.get(sample.source), sample, Path(scratch), pool))
            if len(waiting) > 2 * pool.size:
                _settle(partial, *waiting.popleft())
                written += 1
                on_progress(written, total)
        while waiting:
            _settle(partial, *waiting.popleft())
            written += 1
            on_progress(written, total)


def _start(
    archive: Archive, member: Member | None, sample: Sample, scratch: Path, pool: Pool
) -> tuple[Sample, Path, Path, Future[DecoderReply]]:
    flat = sample.name.replace("/", "-")
    source, written = scratch / f"source-{flat}", scratch / f"written-{flat}"
    if member is None or archive.copy(member, source) != sample.sha256:
        raise DatasetError(
            f"The zip has changed since it was checked: {sample.source} differs.", CHECK_AGAIN
        )
    request = Convert(
        kind=sample.kind,
        path=str(source),
        target=str(written),
        frames=sample.frames_16fps,
        is_copied=sample.is_copied,
    )
    return sample, source, written, pool.submit(request)


def _settle(
    partial: Path, sample: Sample, source: Path, written: Path, reply: Future[DecoderReply]
) -> None:
    """Move a complete converted sample into the partial dataset."""
    if failure := reply.result().failure:
        raise DatasetError(
            f"{sample.source} could not be repaired ({failure}).",
            "Export it again from your editor, or remove it from the zip.",
        )
    target = partial / sample.name
    # Copied, because the scratch folder may be on another disk.
    with written.open("rb") as converted, atomic_file(target, shared=True) as stream:
        shutil.copyfileobj(converted, stream)
    written.unlink()
    source.unlink()


def _finish(partial: Path, report: Report) -> Manifest:
    for sample in report.samples:
        caption = partial / Path(sample.name).with_suffix(".txt")
        atomic_write(caption, f"{sample.caption}\n".encode(), shared=True)
    for stray in partial.glob("*/.*.partial"):  # of an interrupted repair
        stray.unlink()
    names = sorted(
        name
        for sample in report.samples
        for name in (sample.name, str(Path(sample.name).with_suffix(".txt")))
    )
    files = tuple(describe_file(partial, name) for name in names)
    manifest = Manifest(version=report.version, samples=report.samples, files=files)
    write_manifest(partial, manifest)
    return manifest
