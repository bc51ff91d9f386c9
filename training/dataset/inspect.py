"""Inspects a zip: decodes every image and clip, and reports all problems and repairs."""

import time
from collections import deque
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from training.dataset.captions.caption import Caption, read_captions
from training.dataset.config.zip_toml import find_configs, note_configs
from training.dataset.decoding.messages import DecoderReply, Probe, Shrink
from training.dataset.decoding.pool import MOST_LOOKING, Pool
from training.dataset.decoding.thumbnail import Thumbnail, spread
from training.dataset.findings.findings import Noted, by_gravity, fold
from training.dataset.findings.whole_set import judge_set
from training.dataset.layouts.reading import apply, found_layout, layout_findings
from training.dataset.layouts.recognize import recognize
from training.dataset.limits import Limits
from training.dataset.report import (
    Finding,
    FoundConfig,
    Kind,
    MediaFacts,
    Note,
    OnProgress,
    Report,
    Sample,
    content_id,
    no_progress,
)
from training.dataset.zip.archive import Archive, MemberDamagedError, open_archive
from training.dataset.zip.members import Layout, Medium, Names, lay_out
from training.errors import DatasetError
from training.files.temporary import scratch_folder

OnThumbnail = Callable[[str, Thumbnail], None]


class TooSlowError(DatasetError):
    """The inspection takes longer than its limit; `code` names the error in reports."""

    code = "too-slow"


@dataclass(frozen=True, slots=True)
class Probed:
    """An image or clip, and the facts found by decoding it.

    Attributes:
        sha256: Hash of the file; "" if it could not be unpacked from the zip.
        facts: The facts found by decoding; None if the file could not be unpacked, or the decoder
            failed.
        caption: The caption as undecoded bytes; None if there is none, or if it cannot be read.
    """

    medium: Medium
    sha256: str
    facts: MediaFacts | None
    notes: tuple[Note, ...]
    caption: bytes | None = None


@dataclass(frozen=True, slots=True)
class _Begun:
    """An image or clip that is being decoded; `reply` is None if it could not be unpacked."""

    medium: Medium
    path: Path
    sha256: str = ""
    reply: Future[DecoderReply] | None = None
    thumbnail: Future[DecoderReply] | None = None


def inspect_zip(  # noqa: PLR0913  # one option for each choice of the user
    archive: Path,
    *,
    limits: Limits | None = None,
    trigger: str | None = None,
    left_out: frozenset[str] = frozenset(),
    reads_layout: bool = False,
    on_progress: OnProgress = no_progress,
    on_thumbnail: OnThumbnail | None = None,
) -> Report:
    """Inspect an untrusted zip that holds images, clips and captions, in any folders.

    Files whose zip paths are in `left_out` are skipped. If the zip is laid out for another tool,
    the report says so, and if `reads_layout`, the zip is read in that layout. `on_thumbnail`
    receives the zip path and the thumbnail of some samples; if it is None, no thumbnails are made.

    Raises:
        ArchiveRefusedError: The file is not a zip, or not safe to open.
        TooSlowError: The inspection exceeds its time limit.
    """
    limits = limits or Limits()
    with open_archive(archive, limits) as opened:
        layout = _without(left_out, lay_out(opened.members, opened.junk))
        readings = recognize(opened, layout)
        layout = _within(apply(readings, layout) if reads_layout else layout, limits)
        probed: list[Probed] = []
        for item in _probe_all(opened, layout, on_thumbnail):
            probed.append(item)
            on_progress(len(probed), len(layout.media))
        configs = find_configs(opened, layout)
    files = {item.medium.member.path: item.caption for item in probed if item.caption is not None}
    captions = read_captions(files, limits.caption_bytes, trigger)
    report = _report(probed, layout, trigger, configs, captions)
    found = (*layout_findings(readings, is_read=reads_layout), *report.findings)
    return report.model_copy(
        update={
            "findings": tuple(sorted(found, key=by_gravity)),
            "layout": found_layout(readings, is_read=reads_layout),
        }
    )


def _without(left_out: frozenset[str], layout: Layout) -> Layout:
    media = tuple(medium for medium in layout.media if medium.member.path not in left_out)
    left = [(path, note) for path, note in layout.left if path not in left_out]
    gone = [(path, Note(code="left-out")) for path in sorted(left_out)]
    return Layout(media, (*left, *gone))


def _within(layout: Layout, limits: Limits) -> Layout:
    """Add up the sizes of captions, and mark those beyond the total limit as not read."""
    total = 0
    for medium in layout.media:
        total += medium.caption.size_bytes if medium.caption else 0
        medium.is_caption_read = total <= limits.captions_bytes
    return layout


def _probe_all(
    archive: Archive, layout: Layout, on_thumbnail: OnThumbnail | None
) -> Generator[Probed]:
    """Decode the images and clips in order; only a few are unpacked at a time."""
    size_bytes = sum(medium.member.size_bytes for medium in layout.media)
    shown = spread(len(layout.media)) if on_thumbnail is not None else frozenset[int]()
    with (
        scratch_folder("dataset") as folder,
        Pool(archive.limits, len(layout.media), size_bytes, most=MOST_LOOKING) as pool,
    ):
        waiting: deque[_Begun] = deque()
        started = time.monotonic()
        for index, medium in enumerate(layout.media):
            path = folder / f"{index}{medium.extension}"
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
            f"Checking the files took longer than the limit of {limits.inspection_seconds:,} s.",
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
    # A failed thumbnail needs no note, because the probe adds its own notes on damaged files.
    picture = begun.thumbnail.result().thumbnail if begun.thumbnail is not None else None
    if picture is not None and on_thumbnail is not None:
        on_thumbnail(medium.member.path, picture)
    with suppress(PermissionError):  # on Windows, a killed decoder may still have the file open
        begun.path.unlink(missing_ok=True)
    caption = _caption(archive, medium)
    if isinstance(caption, Note):
        return Probed(medium, begun.sha256, facts, (*notes, caption))
    return Probed(medium, begun.sha256, facts, tuple(notes), caption)


def _caption(archive: Archive, medium: Medium) -> bytes | Note:
    if medium.text is not None:
        return medium.text.encode()
    if medium.caption is None:
        return Note(code="missing-caption")
    if not medium.is_caption_read:
        return Note(code="unreadable-caption", detail="all captions together are too long")
    try:
        return archive.read(medium.caption, archive.limits.caption_bytes + 1)
    except MemberDamagedError:
        return Note(code="unreadable-caption", detail="damaged inside the zip")


def _report(
    probed: list[Probed],
    layout: Layout,
    trigger: str | None,
    configs: tuple[FoundConfig, ...],
    captions: Mapping[str, Caption],
) -> Report:
    names = Names()
    noted = [Noted(path, None, note) for path, note in note_configs(layout.left, configs)]
    samples: list[tuple[Sample, MediaFacts]] = []
    totals: dict[Kind, int] = {"image": 0, "video": 0}
    for item in probed:
        medium = item.medium
        totals[medium.kind] += 1
        caption = captions.get(medium.member.path, Caption(""))
        notes = (*item.notes, *caption.notes)
        noted += [Noted(medium.member.path, medium.kind, note) for note in notes]
        if item.facts is None or not item.facts.is_readable:
            continue
        name, note = names.name(medium, item.facts.extension)
        if note is not None:
            noted.append(Noted(medium.member.path, medium.kind, note))
        samples.append((_sample(name, item, item.facts, caption.text), item.facts))
    samples.sort(key=lambda pair: pair[0].name)
    about_all: list[Finding] = judge_set(samples, len(probed), trigger, noted)
    findings = sorted((*about_all, *fold(noted, totals)), key=by_gravity)
    listed = tuple(sample for sample, _ in samples)
    return Report(
        version=content_id(listed), samples=listed, findings=tuple(findings), configs=configs
    )


def _sample(name: str, item: Probed, facts: MediaFacts, caption: str) -> Sample:
    return Sample(
        name=name,
        source=item.medium.member.path,
        kind=item.medium.kind,
        caption=caption,
        sha256=item.sha256,
        repeats=item.medium.repeats,
        **facts.model_dump(exclude={"kind", "extension", "prints", "notes"}),
    )
