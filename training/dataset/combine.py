"""Two uploads made one: the files of both, under the names that they have once repaired."""

import tempfile
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from training.dataset.archive import open_archive
from training.dataset.limits import Limits
from training.dataset.report import Report, Sample
from training.errors import DatasetError

_SHOWN_CLASHES = 5
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the same files give the same zip


@dataclass(frozen=True, slots=True)
class Part:
    """A zip, and what was found in it; the report's captions count."""

    archive: Path
    report: Report


@dataclass(frozen=True, slots=True)
class Combined:
    """How many samples came new, and how many took the place of one of the same name."""

    added: int
    replaced: int


def combine(old: Part, new: Part, target: Path, *, is_replacing: bool) -> Combined:
    """Write a zip with the samples of both parts.

    A sample that both have, with the same bytes and caption, is taken once.

    Args:
        old: What is there.
        new: What comes to it.
        target: The zip to write.
        is_replacing: Of two different samples with one name the new one is taken.

    Raises:
        DatasetError: Different samples have one name and none is to be replaced.
    """
    there = {_key(sample): sample for sample in old.report.samples}
    coming = [s for s in new.report.samples if not _is_same(s, there.get(_key(s)))]
    clashes = [sample for sample in coming if _key(sample) in there]
    if clashes and not is_replacing:
        raise _clash(clashes)
    taken = {_key(sample) for sample in coming}
    staying = [sample for sample in old.report.samples if _key(sample) not in taken]
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as file:
        _write(file, old.archive, staying)
        _write(file, new.archive, coming)
    return Combined(len(coming) - len(clashes), len(clashes))


def _key(sample: Sample) -> str:
    # Samples of one stem share a text cache in the trainer, whatever their types.
    return str(PurePosixPath(sample.name).with_suffix("")).casefold()


def _is_same(sample: Sample, other: Sample | None) -> bool:
    return other is not None and sample.sha256 == other.sha256 and sample.caption == other.caption


def _write(file: zipfile.ZipFile, archive: Path, samples: Iterable[Sample]) -> None:
    with open_archive(archive, Limits()) as opened, tempfile.TemporaryDirectory() as folder:
        members = {member.path: member for member in opened.members}
        scratch = Path(folder) / "member"
        for sample in samples:
            name = PurePosixPath(sample.name).with_suffix(PurePosixPath(sample.source).suffix)
            opened.copy(members[sample.source], scratch)
            with scratch.open("rb") as source, file.open(_entry(name), "w", force_zip64=True) as to:
                while chunk := source.read(1 << 20):
                    to.write(chunk)
            file.writestr(_entry(name.with_suffix(".txt")), f"{sample.caption}\n")


def _entry(name: PurePosixPath) -> zipfile.ZipInfo:
    return zipfile.ZipInfo(str(name), _EPOCH)


def _clash(clashes: list[Sample]) -> DatasetError:
    shown = ", ".join(sample.name for sample in clashes[:_SHOWN_CLASHES])
    more = f" and {len(clashes) - _SHOWN_CLASHES} more" if len(clashes) > _SHOWN_CLASHES else ""
    are = "is" if len(clashes) == 1 else "are"
    return DatasetError(
        f"{shown}{more} {are} there already with another content; nothing was overwritten.",
        "Rename these files in the new zip, or ask for mode replace to take the new ones instead.",
    )
