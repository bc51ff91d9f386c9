"""The report and the pictures of a stored dataset are made again from its zip."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from storage.local.store import FolderStore
from tests import media
from tests.damage import DAMAGE, cut_off, empty, flip_a_bit, remove
from training import store_keys
from training.errors import DatasetError
from training.records import copy_of
from training.registry.dataset_draft import (
    Upload,
    inspect_upload,
    leave_out,
    leave_out_bad_files,
)
from training.registry.dataset_edits import DatasetEdits
from training.registry.datasets import Datasets, DatasetVersion
from training.remedies import AddDataset

GUILD = "g"
FILES: Mapping[str, bytes | str] = {
    "images/a.png": media.png(),
    "images/a.txt": "ann1ka, one",
    "images/b.png": media.png(seed=2),
    "images/b.txt": "ann1ka, two",
}
Damage = Callable[[Path], None]


@pytest.fixture
def datasets(tmp_path: Path) -> Datasets:
    """Return the datasets of a home with annika@1, and annika@2 with an edited caption."""
    datasets = Datasets(FolderStore(tmp_path / "home"))
    archive = media.write_zip(tmp_path / "annika.zip", FILES)
    datasets.add(GUILD, "annika", _upload(archive))
    table = datasets.captions(GUILD, "annika")[1].replace(b"ann1ka, one", b"ann1ka, a new caption")
    DatasetEdits(datasets).recaption(GUILD, "annika", table, trigger="ann1ka", by="7")
    return datasets


def _upload(archive: Path) -> Upload:
    return Upload(archive=archive, by="7", file_name="annika.zip", trigger="ann1ka")


def stored(tmp_path: Path, name: str, number: int = 2) -> Path:
    return tmp_path / "home" / store_keys.dataset(GUILD, "annika", number) / name


def newest(datasets: Datasets) -> DatasetVersion:
    return datasets.find(GUILD, "annika")


@pytest.mark.parametrize("name", [store_keys.REPORT, store_keys.THUMBNAILS])
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_what_was_made_from_the_zip_is_made_again(
    datasets: Datasets, tmp_path: Path, name: str, damage: Damage
) -> None:
    version = newest(datasets)
    report, thumbnails = datasets.report(GUILD, version), datasets.thumbnails(GUILD, version)
    whole = stored(tmp_path, name).read_bytes()
    damage(stored(tmp_path, name))

    found = datasets.report(GUILD, version), datasets.thumbnails(GUILD, version)

    assert found == (report, thumbnails)
    assert found[0].samples[0].caption == "ann1ka, a new caption"
    assert stored(tmp_path, name).read_bytes() == whole
    assert datasets.draft(GUILD, version).report == report


def test_files_that_were_left_out_stay_out(datasets: Datasets, tmp_path: Path) -> None:
    bad = {"images/c.png": media.png()[:900], "images/d.heic": b"x", "images/e.png": media.png()}
    archive = media.write_zip(tmp_path / "bad.zip", {**FILES, **bad})
    draft = inspect_upload(Upload(archive=archive, by="7", file_name="bad.zip"))
    kept = leave_out(leave_out_bad_files(draft, by="7"), by="7")
    version = datasets.store(GUILD, "annika", kept)
    remove(stored(tmp_path, store_keys.REPORT, version.number))

    found = datasets.report(GUILD, version)

    assert found == kept.report
    assert [sample.source for sample in found.samples] == ["images/a.png", "images/b.png"]


@pytest.mark.parametrize("damage", [remove, cut_off, empty])
def test_edited_captions_that_are_lost_are_named(
    datasets: Datasets, tmp_path: Path, damage: Damage
) -> None:
    damage(stored(tmp_path, store_keys.CAPTIONS))

    with pytest.raises(DatasetError, match=r"captions\.json, the edited captions of a dataset"):
        datasets.draft(GUILD, newest(datasets))


@pytest.mark.parametrize(
    ("damage", "named"), [(remove, "zip of annika@2 is missing"), (cut_off, "zip")]
)
def test_without_a_whole_zip_the_damage_is_told(
    datasets: Datasets, tmp_path: Path, damage: Damage, named: str
) -> None:
    remove(stored(tmp_path, store_keys.REPORT))
    damage(stored(tmp_path, store_keys.ORIGINAL))

    with pytest.raises(DatasetError, match=named):
        datasets.report(GUILD, newest(datasets))


def test_a_zip_with_other_content_is_not_taken(datasets: Datasets, tmp_path: Path) -> None:
    remove(stored(tmp_path, store_keys.REPORT))
    others = {**FILES, "images/b.png": media.png(seed=9)}
    media.write_zip(stored(tmp_path, store_keys.ORIGINAL), others)

    with pytest.raises(DatasetError, match="checking the zip again gives a different"):
        datasets.report(GUILD, newest(datasets))


@pytest.mark.parametrize("damage", [cut_off, flip_a_bit, empty])
def test_a_damaged_record_is_named_and_hides_no_other_version(
    datasets: Datasets, tmp_path: Path, damage: Damage
) -> None:
    for record in (store_keys.MANIFEST, copy_of(store_keys.MANIFEST)):
        damage(stored(tmp_path, record, number=1))

    with pytest.raises(DatasetError, match="record of the dataset annika@1 is damaged"):
        datasets.find(GUILD, "annika@1")

    assert [version.number for version in datasets.versions(GUILD, "annika")] == [2]
    assert datasets.newest(GUILD) == ([newest(datasets)], [])


def test_a_dataset_whose_newest_record_is_damaged_is_listed_and_can_be_added_again(
    datasets: Datasets, tmp_path: Path
) -> None:
    for record in (store_keys.MANIFEST, copy_of(store_keys.MANIFEST)):
        flip_a_bit(stored(tmp_path, record, number=2))

    versions, (error,) = datasets.newest(GUILD)
    again, _ = datasets.add(GUILD, "annika", _upload(tmp_path / "annika.zip"))

    assert versions == []
    assert error.cause == "The record of the dataset annika@2 is damaged."
    assert error.remedy == AddDataset(name="annika")
    assert datasets.newest(GUILD) == ([again], [])
