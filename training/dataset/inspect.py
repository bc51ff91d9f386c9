"""Inspects a zip: decodes every sample once and reports what is wrong or will be repaired."""

import tempfile
import time
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from training.dataset.captions.caption import read_caption
from training.dataset.config.zip_toml import find_configs, note_configs
from training.dataset.decoding.messages import DecoderReply, Probe, Shrink
from training.dataset.decoding.pool import MOST_LOOKING, Pool
from training.dataset.decoding.thumbnail import Thumbnail, spread
from training.dataset.findings.findings import Noted, by_gravity, fold
from training.dataset.findings.whole_set import judge_set
from training.dataset.limits import Limits
from training.dataset.report import (
    Finding,
    FoundConfig,
    Kind,
    MediaFacts,
    Note,
    Report,
    Sample,
    content_id,
)
from training.dataset.zip.archive import Archive, MemberDamagedError, open_archive
from training.dataset.zip.members import Layout, Medium, Names, lay_out
from training.errors import DatasetError

OnThumbnail = Callable[[str, Thumbnail], None]


def _no_progress(done: int, total: int) -> None:
    """Report nothing."""


class TooSlowError(DatasetError):
    """The inspection takes too long; `code` is like that of a finding."""

    code = "too-slow"


@dataclass(frozen=True, slots=True)
class Probed:
    """A decoded image or clip; `sha256` is empty if it could not be unpacked."""

    medium: Medium
    sha256: str
    facts: MediaFacts | None
    caption: str
    notes: tuple[Note, ...]


@dataclass(frozen=True, slots=True)
class _Begun:
    """An image or clip being decoded; `reply` is None if it could not be unpacked."""

    medium: Medium
    path: Path
    sha256: str = ""
    reply: Future[DecoderReply] | None = None
    thumbnail: Future[DecoderReply] | None = None


def inspect_zip(
    archive: Path,
    *,
    limits: Limits | None = None,
    trigger: str | None = None,
    on_progress: Callable[[int, int], None] = _no_progress,
    on_thumbnail: OnThumbnail | None = None,
) -> Report:
    """Inspect an untrusted dataset without changing it.

    Args:
        archive: A zip in the guide's layout, nested in folders, or flat.
        limits: Bounds on what the upload may use.
        trigger: A word that every caption should contain.
        on_progress: Called with the number of decoded files and their total.
        on_thumbnail: Called with the zip path and thumbnail of some samples; None makes none.

    Raises:
        ArchiveRefusedError: It is not a zip, or not safe to open.
        TooSlowError: The inspection exceeds its time limit.
    """
    limits = limits or Limits()
    with open_archive(archive, limits) as opened:
        layout = _within(lay_out(opened.members, opened.junk), limits)
        probed: list[Probed] = []
        for item in _probe_all(opened, layout, on_thumbnail):
            probed.append(item)
            on_progress(len(probed), len(layout.media))
        configs = find_configs(opened, layout)
    return _report(probed, layout, trigger, configs)


def _within(layout: Layout, limits: Limits) -> Layout:
    """Mark the captions that exceed the total size limit as not to be read."""
    total = 0
    for medium in layout.media:
        total += medium.caption.size_bytes if medium.caption else 0
        medium.is_caption_read = total <= limits.captions_bytes
    return layout


def _probe_all(
    archive: Archive, layout: Layout, on_thumbnail: OnThumbnail | None
) -> Generator[Probed]:
    """Yield each image and clip decoded, in order, with only a few unpacked at a time."""
    size_bytes = sum(medium.member.size_bytes for medium in layout.media)
    shown = spread(len(layout.media)) if on_thumbnail is not None else frozenset[int]()
    with (
        tempfile.TemporaryDirectory(prefix="dataset-") as folder,
        Pool(archive.limits, len(layout.media), size_bytes, most=MOST_LOOKING) as pool,
    ):
        waiting: deque[_Begun] = deque()
        started = time.monotonic()
        for index, medium in enumerate(layout.media):
            path = Path(folder) / f"{index}{medium.extension}"
            waiting.append(_start(archive, medium, path, pool, is_shown=index in shown))
            _refuse_slow(started, archive.limits)
            if len(waiting) > 2 * pool.size:
                yield _finish(archive, waiting.popleft(), on_thumbnail)
        while waiting:
            _refuse_slow(started, archive.limits)
            yield _finish(archive, waiting.popleft(), on_thumbnail)


def _refuse_slow(started: float, limits: Limits) -> None:
    if time.monotonic() - started > limits.inspection_seconds:
        raise TooSlowError(
            f"Checking the files takes longer than the limit of {limits.inspection_seconds:,} s.",
            "Split the dataset, or use shorter or smaller clips.",
        )


def _start(archive: Archive, medium: Medium, path: Path, pool: Pool, *, is_shown: bool) -> _Begun:
    try:
        sha256 = archive.copy(medium.member, path)
    except MemberDamagedError:
        return _Begun(medium, path)
    probe = Probe(
        kind=medium.kind, path=str(path), extension=medium.extension, threads=pool.threads
    )
    reply = pool.submit(probe)
    thumbnail = pool.submit(Shrink(kind=medium.kind, path=str(path))) if is_shown else None
    return _Begun(medium, path, sha256, reply, thumbnail)


def _finish(archive: Archive, begun: _Begun, on_thumbnail: OnThumbnail | None) -> Probed:
    medium = begun.medium
    notes = list(medium.notes)
    facts = None
    if begun.reply is None:
        notes.append(Note(code="damaged-in-zip"))
    else:
        answered = begun.reply.result()
        facts = answered.facts
        code = "corrupt-image" if medium.kind == "image" else "corrupt-clip"
        notes += facts.notes if facts else [Note(code=code, detail=answered.failure or "")]
    # A missing thumbnail needs no note: the probe reports what is wrong.
    picture = begun.thumbnail.result().thumbnail if begun.thumbnail is not None else None
    if picture is not None and on_thumbnail is not None:
        on_thumbnail(medium.member.path, picture)
    begun.path.unlink(missing_ok=True)
    text, caption_notes = _caption(archive, medium)
    return Probed(medium, begun.sha256, facts, text, (*notes, *caption_notes))


def _caption(archive: Archive, medium: Medium) -> tuple[str, tuple[Note, ...]]:
    if medium.caption is None:
        return "", (Note(code="missing-caption"),)
    if not medium.is_caption_read:
        return "", (Note(code="unreadable-caption", detail="too long with all others"),)
    limit = archive.limits.caption_bytes
    try:
        content = archive.read(medium.caption, limit + 1)
    except MemberDamagedError:
        return "", (Note(code="unreadable-caption", detail="damaged inside the zip"),)
    caption = read_caption(content, limit)
    return caption.text, caption.notes


def _report(
    probed: list[Probed], layout: Layout, trigger: str | None, configs: tuple[FoundConfig, ...]
) -> Report:
    names = Names()
    noted = [Noted(path, None, note) for path, note in note_configs(layout.left, configs)]
    samples: list[tuple[Sample, MediaFacts]] = []
    totals: dict[Kind, int] = {"image": 0, "video": 0}
    for item in probed:
        medium = item.medium
        totals[medium.kind] += 1
        noted += [Noted(medium.member.path, medium.kind, note) for note in item.notes]
        if item.facts is None or not item.facts.is_readable:
            continue
        name, note = names.name(medium, item.facts.extension)
        if note is not None:
            noted.append(Noted(medium.member.path, medium.kind, note))
        samples.append((_sample(name, item, item.facts), item.facts))
    samples.sort(key=lambda pair: pair[0].name)
    about_all: list[Finding] = judge_set(samples, len(probed), trigger, noted)
    findings = sorted((*about_all, *fold(noted, totals)), key=by_gravity)
    listed = tuple(sample for sample, _ in samples)
    return Report(
        version=content_id(listed), samples=listed, findings=tuple(findings), configs=configs
    )


def _sample(name: str, item: Probed, facts: MediaFacts) -> Sample:
    return Sample(
        name=name,
        source=item.medium.member.path,
        kind=item.medium.kind,
        caption=item.caption,
        sha256=item.sha256,
        width=facts.width,
        height=facts.height,
        frames=facts.frames,
        fps=facts.fps,
        seconds=facts.seconds,
        frames_16fps=facts.frames_16fps,
        is_copied=facts.is_copied,
    )
