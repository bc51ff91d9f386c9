"""Single samples are repaired on demand, to the bytes that training reads, in a bounded cache."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.media import mp4, png, write_zip
from training.dataset.inspect import inspect_zip
from training.dataset.repair import repair
from training.dataset.report import Report
from training.dataset.sample_files import SampleFiles
from training.errors import DatasetError


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    files: dict[str, bytes | str] = {"a.png": png(), "a.txt": "one", "b.mp4": mp4(30, fps=30)}
    return write_zip(tmp_path / "set.zip", {**files, "b.txt": "two"})


@pytest.fixture
def report(archive: Path) -> Report:
    return inspect_zip(archive)


@pytest.fixture
def files() -> Iterator[SampleFiles]:
    found = SampleFiles()
    yield found
    found.close()


def test_a_sample_has_the_bytes_that_training_reads(
    archive: Path, report: Report, files: SampleFiles, tmp_path: Path
) -> None:
    repair(archive, report, tmp_path / "repaired")

    for sample in report.samples:
        shown = files.find(archive, sample, "repaired").read_bytes()
        assert shown == (tmp_path / "repaired" / sample.name).read_bytes()


def test_a_thumbnail_is_a_small_jpeg(archive: Path, report: Report, files: SampleFiles) -> None:
    for sample in report.samples:
        with Image.open(files.find(archive, sample, "thumbnail")) as picture:
            assert (picture.format, max(picture.size)) == ("JPEG", 300)


def test_files_used_least_recently_are_deleted_if_the_cache_is_full(
    archive: Path, report: Report
) -> None:
    files = SampleFiles(most_bytes=1)
    first = files.find(archive, report.samples[0], "repaired")
    second = files.find(archive, report.samples[1], "repaired")

    assert not first.exists()
    assert second.exists()
    files.rest()  # and starts again by itself
    assert files.find(archive, report.samples[0], "repaired").exists()
    files.close()
    assert not second.parent.exists()


def test_a_zip_that_has_changed_is_refused(
    archive: Path, report: Report, files: SampleFiles
) -> None:
    changed = report.samples[0].model_copy(update={"sha256": hashlib.sha256(b"x").hexdigest()})

    with pytest.raises(DatasetError, match="has changed since it was checked"):
        files.find(archive, changed, "repaired")
