"""Writes the repaired dataset that a report describes; the same zip always gives the same bytes."""

import shutil
from collections import deque
from concurrent.futures import Future
from pathlib import Path, PurePosixPath

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
from training.dataset.report import OnProgress, Report, Sample, causes_and_fixes, no_progress
from training.dataset.zip.archive import Archive, open_archive
from training.dataset.zip.member_names import Member
from training.errors import DatasetError
from training.files.atomic import atomic_file, atomic_write, publish, sync_tree
from training.files.temporary import scratch_folder

CHECK_AGAIN = "Check the dataset again with the original zip."


def repair(
    archive: Path,
    report: Report,
    target: Path,
    *,
    limits: Limits | None = None,
    on_progress: OnProgress = no_progress,
) -> Manifest:
    """Write the dataset to the folder `target`; an interrupted repair is resumed.

    If `report.media` is "original", images and clips are only copied, under ASCII names. `target`
    must be missing or empty, or already hold this dataset.

    Raises:
        DatasetError: The report has errors, the zip has changed, or `target` contains other files.
    """
    limits = limits or Limits()
    if report.errors:
        raise DatasetError(*causes_and_fixes(report.errors))
    if (done := _already_there(target, report)) is not None:
        return done
    # Files are first written to this folder. It is beside the target, so that the final rename is
    # atomic. Its name contains the content id, so that the next repair of the same dataset finds
    # the files of an interrupted one.
    partial = target.with_name(f".{target.name}.{report.version}.partial")
    for folder in sorted({*MEDIA_FOLDERS, *(sample.folder for sample in report.samples)}):
        (partial / folder).mkdir(parents=True, exist_ok=True)
    with open_archive(archive, limits) as opened:
        _write_all(opened, report, partial, on_progress)
    manifest = _finish(partial, report)
    if target.exists():
        target.rmdir()  # empty, as `_already_there` has checked
    sync_tree(partial)
    publish(partial, target)
    return manifest


def _already_there(target: Path, report: Report) -> Manifest | None:
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return None
    if not (target / MANIFEST).is_file() or read_manifest(target).version != report.version:
        raise DatasetError(
            f"{target.name} already contains other files.",
            "Choose a folder that does not exist yet, or empty this one.",
        )
    return verify_manifest(target)


def _write_all(archive: Archive, report: Report, partial: Path, on_progress: OnProgress) -> None:
    members = {member.path: member for member in archive.members}
    missing = [sample for sample in report.samples if not (partial / sample.name).exists()]
    written = total = len(report.samples)
    written -= len(missing)
    size_bytes = sum(members[s.source].size_bytes for s in missing if s.source in members)
    with (
        scratch_folder("dataset") as scratch,
        Pool(archive.limits, len(missing), size_bytes, most=MOST_CONVERTING) as pool,
    ):
        waiting: deque[tuple[Sample, Path, Path, Future[DecoderReply]]] = deque()
        for sample in missing:
            waiting.append(_start(archive, members.get(sample.source), sample, scratch, pool))
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
    unpack(archive, member, sample, source)
    return sample, source, written, pool.submit(conversion(sample, source, written))


def unpack(archive: Archive, member: Member | None, sample: Sample, target: Path) -> None:
    """Write a sample's uploaded file to `target`.

    Raises:
        DatasetError: The zip has changed since it was inspected.
    """
    if member is None or archive.copy(member, target) != sample.sha256:
        raise DatasetError(
            f"The zip has changed since it was checked: {sample.source} differs.", CHECK_AGAIN
        )


def conversion(sample: Sample, source: Path, target: Path) -> Convert:
    """Return the request that repairs a sample's uploaded file `source`."""
    return Convert(
        kind=sample.kind,
        path=str(source),
        target=str(target),
        frames=sample.frames_16fps,
        is_copied=sample.is_copied,
        is_interlaced=sample.is_interlaced,
    )


def refuse_failed(sample: Sample, reply: DecoderReply) -> None:
    """Raise `DatasetError` if a sample's conversion failed."""
    if reply.failure:
        raise DatasetError(
            f"{sample.source} could not be repaired ({reply.failure}).",
            "Export the file again from your editor, or remove it from the zip.",
        )


def _settle(
    partial: Path, sample: Sample, source: Path, written: Path, reply: Future[DecoderReply]
) -> None:
    """Wait for a sample's conversion, and write the complete file into the partial dataset."""
    refuse_failed(sample, reply.result())
    target = partial / sample.name
    # Copy the file, because a move would not be atomic if the scratch folder is on another disk.
    with written.open("rb") as converted, atomic_file(target) as stream:
        shutil.copyfileobj(converted, stream)
    written.unlink()
    source.unlink()


def _finish(partial: Path, report: Report) -> Manifest:
    for sample in report.samples:
        caption = partial / Path(sample.name).with_suffix(".txt")
        atomic_write(caption, f"{sample.caption}\n".encode())
    for stray in partial.glob("*/.*.partial"):  # left by an interrupted repair
        stray.unlink()
    names = sorted(
        name
        for sample in report.samples
        for name in (sample.name, str(PurePosixPath(sample.name).with_suffix(".txt")))
    )
    files = tuple(describe_file(partial, name) for name in names)
    manifest = Manifest(version=report.version, samples=report.samples, files=files)
    write_manifest(partial, manifest)
    return manifest
