"""Combines the samples of two zips into one zip, keeping their file names."""

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from training.dataset.limits import Limits
from training.dataset.report import Report, Sample
from training.dataset.zip.archive import open_archive
from training.dataset.zip.members import plain_stem
from training.errors import DatasetError
from training.files.temporary import scratch_folder
from training.files.zip_format import add, blocks_of, member
from training.wording import listed


@dataclass(frozen=True, slots=True)
class ZipPart:
    """A zip and its report. The captions are taken from the report, not from the zip."""

    archive: Path
    report: Report


@dataclass(frozen=True, slots=True)
class _Name:
    """A sample's folder and stem; comparisons ignore case.

    The trainer names text caches after stems, so in one folder no two samples may share a stem.
    """

    folder: str
    stem: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Name) and self._folded() == other._folded()

    def __hash__(self) -> int:
        return hash(self._folded())

    def _folded(self) -> str:
        return f"{self.folder}/{self.stem}".casefold()


@dataclass(frozen=True, slots=True)
class Combined:
    """The number of new samples, and of samples that replaced an old one of the same name."""

    added: int
    replaced: int


def combine(
    old: ZipPart, new: ZipPart, target: Path, *, is_replacing: bool, limits: Limits | None = None
) -> Combined:
    """Write a zip with the samples of both parts to `target`.

    A sample whose file and caption are the same in both parts is written once. With `is_replacing`,
    a new sample replaces a different old sample of the same name.

    Raises:
        DatasetError: A new sample has the name of a different old one, and `is_replacing` is False.
    """
    there, sent = _named(old.report), _named(new.report)
    coming = {name: s for name, s in sent.items() if not _is_same(s, there.get(name))}
    clashes = [name for name in coming if name in there]
    if clashes and not is_replacing:
        raise _clash([coming[name] for name in clashes])
    staying = {name: sample for name, sample in there.items() if name not in coming}
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as file:
        _write(file, old.archive, staying, limits or Limits())
        _write(file, new.archive, coming, limits or Limits())
    return Combined(len(coming) - len(clashes), len(clashes))


def _named(report: Report) -> dict[_Name, Sample]:
    """Return the samples, keyed by the names they are written under."""
    found: dict[_Name, Sample] = {}
    for sample in report.samples:
        name = _name(sample, PurePosixPath(sample.source).stem)
        # Files of two uploaded folders may share a stem. The later file is then written under
        # the stem that the report gives it, such as `01-2`.
        found[name if name not in found else _name(sample, None)] = sample
    return found


def _name(sample: Sample, stem: str | None) -> _Name:
    """Return the name to write a sample under: its folder, and its stem in the report.

    If an original `stem` is given and is not plain ASCII, that stem is used instead.
    """
    plain = PurePosixPath(sample.name).stem
    kept = plain if stem is None or plain_stem(stem) == stem else stem
    return _Name(sample.folder, kept)


def _is_same(sample: Sample, other: Sample | None) -> bool:
    return other is not None and sample.sha256 == other.sha256 and sample.caption == other.caption


def _write(
    file: zipfile.ZipFile, archive: Path, samples: Mapping[_Name, Sample], limits: Limits
) -> None:
    with open_archive(archive, limits) as opened, scratch_folder("combined") as folder:
        members = {one.path: one for one in opened.members}
        scratch = folder / "member"
        for name, sample in samples.items():
            opened.copy(members[sample.source], scratch)
            place = f"{name.folder}/{name.stem}"
            with scratch.open("rb") as source:
                add(file, f"{place}{PurePosixPath(sample.source).suffix}", blocks_of(source))
            file.writestr(member(f"{place}.txt"), f"{sample.caption}\n")


def _clash(clashes: list[Sample]) -> DatasetError:
    are = "is" if len(clashes) == 1 else "are"
    return DatasetError(
        f"{listed([sample.source for sample in clashes])} {are} already in the dataset with "
        "different content. Nothing was overwritten.",
        "Rename these files in the new zip, or use mode replace to take the new ones.",
    )
