"""Two uploads made one: the files of both, under the names that they are known by."""

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
    """A zip, and what was found in it; the report's captions count."""

    archive: Path
    report: Report


@dataclass(frozen=True, slots=True)
class _Name:
    """Where a sample lies; samples of one stem share a text cache, whatever their types."""

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
    """How many samples came new, and how many took the place of one of the same name."""

    added: int
    replaced: int


def combine(
    old: ZipPart, new: ZipPart, target: Path, *, is_replacing: bool, limits: Limits | None = None
) -> Combined:
    """Write a zip with the samples of both parts.

    A sample that both have, with the same bytes and caption, is taken once.

    Args:
        old: What is there.
        new: What comes to it.
        target: The zip to write.
        is_replacing: Of two different samples with one name the new one is taken.
        limits: Under which both were taken in.

    Raises:
        DatasetError: Different samples have one name and none is to be replaced.
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
    """Return the samples by the names that they keep, each once."""
    found: dict[_Name, Sample] = {}
    for sample in report.samples:
        name = _name(sample, PurePosixPath(sample.source).stem)
        # A file was numbered because of another in another folder: so it stays.
        found[name if name not in found else _name(sample, None)] = sample
    return found


def _name(sample: Sample, stem: str | None) -> _Name:
    """Return a sample's name: as it was uploaded, where a plain name would not tell it."""
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
