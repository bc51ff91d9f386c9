"""Combines two uploads into one, keeping the names of their files."""

import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from training.dataset.limits import Limits
from training.dataset.report import Report, Sample
from training.dataset.zip.archive import open_archive
from training.dataset.zip.members import plain_stem
from training.errors import DatasetError
from training.wording import listed

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the same files give the same zip


@dataclass(frozen=True, slots=True)
class ZipPart:
    """A zip and its report, whose captions replace those of the zip."""

    archive: Path
    report: Report


@dataclass(frozen=True, slots=True)
class _Name:
    """A sample's folder and stem; samples with the same stem share a text cache."""

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
    """How many samples were added, and how many replaced one of the same name."""

    added: int
    replaced: int


def combine(
    old: ZipPart, new: ZipPart, target: Path, *, is_replacing: bool, limits: Limits | None = None
) -> Combined:
    """Write a zip with the samples of both parts.

    A sample that both have, with equal bytes and caption, is written once.

    Args:
        old: The existing dataset.
        new: The addition.
        target: The zip to write.
        is_replacing: A new sample replaces a different one with the same name.
        limits: Bounds on both zips.

    Raises:
        DatasetError: Different samples have the same name and may not be replaced.
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
    """Return the samples by the names that they keep."""
    found: dict[_Name, Sample] = {}
    for sample in report.samples:
        name = _name(sample, PurePosixPath(sample.source).stem)
        # A file numbered because of one in another folder keeps its number.
        found[name if name not in found else _name(sample, None)] = sample
    return found


def _name(sample: Sample, stem: str | None) -> _Name:
    """Return a sample's name: the uploaded one, unless it had to be made plain."""
    plain = PurePosixPath(sample.name).stem
    kept = plain if stem is None or plain_stem(stem) == stem else stem
    return _Name(sample.folder, kept)


def _is_same(sample: Sample, other: Sample | None) -> bool:
    return other is not None and sample.sha256 == other.sha256 and sample.caption == other.caption


def _write(
    file: zipfile.ZipFile, archive: Path, samples: Mapping[_Name, Sample], limits: Limits
) -> None:
    with open_archive(archive, limits) as opened, tempfile.TemporaryDirectory() as folder:
        members = {member.path: member for member in opened.members}
        scratch = Path(folder) / "member"
        for name, sample in samples.items():
            opened.copy(members[sample.source], scratch)
            medium = _entry(name, PurePosixPath(sample.source).suffix)
            with scratch.open("rb") as source, file.open(medium, "w", force_zip64=True) as to:
                while chunk := source.read(1 << 20):
                    to.write(chunk)
            file.writestr(_entry(name, ".txt"), f"{sample.caption}\n")


def _entry(name: _Name, ending: str) -> zipfile.ZipInfo:
    return zipfile.ZipInfo(f"{name.folder}/{name.stem}{ending}", _EPOCH)


def _clash(clashes: list[Sample]) -> DatasetError:
    are = "is" if len(clashes) == 1 else "are"
    return DatasetError(
        f"{listed([sample.source for sample in clashes])} {are} already in the dataset with "
        "different content. Nothing was overwritten.",
        "Rename these files in the new zip, or use mode replace to take the new ones.",
    )
