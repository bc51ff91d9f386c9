"""How to read a zip that is laid out for another tool, such as kohya-ss/sd-scripts."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from training.dataset.report import Finding, FoundLayout
from training.dataset.zip.members import Layout
from training.wording import listed

_SHOWN = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How to read the files of a zip in one recognized layout.

    Attributes:
        name: The layout's display name, such as "kohya folders".
        captions: Captions, keyed by the path of their image or clip.
        sources: Files that hold these captions.
        repeats: How many times an epoch trains on an image or clip, keyed by its path.
        left_out: The kind of each file that is not a sample, such as "masks", keyed by its path.
        remarks: Phrases about problems, such as rows that cannot be read.
    """

    name: str
    captions: Mapping[str, str] = field(default_factory=dict[str, str])
    sources: tuple[str, ...] = ()
    repeats: Mapping[str, int] = field(default_factory=dict[str, int])
    left_out: Mapping[str, str] = field(default_factory=dict[str, str])
    remarks: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[str, ...]:
        """The files that this layout reads captions from, leaves out or repeats."""
        return tuple(sorted({*self.sources, *self.left_out, *self.repeats}))


def apply(readings: Sequence[Reading], layout: Layout) -> Layout:
    """Return `layout` with the captions and repeats of these readings.

    Files that are not samples, and files from which captions are taken, are left out.
    """
    texts = {path: text for one in readings for path, text in one.captions.items()}
    repeats = {path: times for one in readings for path, times in one.repeats.items()}
    settled = {path for one in readings for path in (*one.left_out, *one.sources)}
    media = [
        replace(
            medium,
            text=texts.get(medium.member.path),
            repeats=repeats.get(medium.member.path, medium.repeats),
        )
        for medium in layout.media
        if medium.member.path not in settled
    ]
    own = {medium.caption.path for medium in layout.media if medium.caption is not None}
    left = tuple((path, note) for path, note in layout.left if path not in settled - own)
    return Layout(tuple(media), left)


def found_layout(readings: Sequence[Reading], *, is_read: bool) -> FoundLayout | None:
    if not readings:
        return None
    return FoundLayout(names=tuple(one.name for one in readings), is_read=is_read)


def layout_findings(readings: Sequence[Reading], *, is_read: bool) -> Iterator[Finding]:
    """For each reading, yield a finding that says how the zip was or could be read."""
    for one in readings:
        details = "; ".join(_details(one))
        read_as = "Read as" if is_read else "This can be read as"
        yield Finding(
            code="layout-read" if is_read else "layout-found",
            severity="info" if is_read and not one.remarks else "warning",
            file=None,
            cause=f"{read_as} {one.name}: {details}.",
            fix=_fix(one, is_read=is_read),
            repaired=is_read,
            files=one.files,
        )


def _fix(reading: Reading, *, is_read: bool) -> str:
    if not is_read:
        return "The layout is ignored unless you choose to use it."
    if reading.repeats:
        return "Repeats make an epoch longer: choose fewer epochs than usual."
    return "Check that this is what you intended."


def _details(reading: Reading) -> Iterator[str]:
    if count := len(reading.captions):
        captions = "1 caption" if count == 1 else f"{count} captions"
        source = f" from {listed(reading.sources, _SHOWN)}" if reading.sources else ""
        yield f"{captions}{source}"
    for times, count in sorted(Counter(reading.repeats.values()).items(), reverse=True):
        samples = "1 sample counts" if count == 1 else f"{count} samples count"
        yield f"{samples} {'once' if times == 1 else f'{times} times'} in an epoch"
    for kind, count in sorted(Counter(reading.left_out.values()).items()):
        folders = {
            str(PurePosixPath(path).parent) for path, k in reading.left_out.items() if k == kind
        }
        named = [folder if folder != "." else "the top folder" for folder in sorted(folders)]
        where = f" in {listed(named, _SHOWN)}" if folders != {"."} else ""
        yield f"{count} {kind if count > 1 else kind.removesuffix('s')}{where} left out"
    yield from reading.remarks
