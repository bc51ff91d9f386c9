"""Captions are changed one by one, by several people at once, in complete and other versions."""

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from storage.local.store import FolderStore
from tests import media
from tests.damage import empty
from training import store_keys
from training.errors import RequestError
from training.registry.dataset_draft import DatasetRefusedError, Upload
from training.registry.dataset_edits import CaptionChange, DatasetEdits
from training.registry.datasets import Datasets, DatasetVersion
from training.remedies import WriteCaptions

GUILD = "g"
FILES: Mapping[str, bytes | str] = {
    "images/a.png": media.png(),
    "images/a.txt": "ann1ka, one",
    "images/b.png": media.png(seed=2),
    "images/b.txt": "ann1ka, two",
    "images/c.png": media.png(seed=3),
}
COMPLETE = {**FILES, "images/c.txt": "ann1ka, three"}
A, B, C = "images/a.png", "images/b.png", "images/c.png"


@pytest.fixture
def datasets(tmp_path: Path) -> Datasets:
    return Datasets(FolderStore(tmp_path / "home"))


@pytest.fixture
def edits(datasets: Datasets) -> DatasetEdits:
    return DatasetEdits(datasets)


def add(datasets: Datasets, tmp_path: Path, files: Mapping[str, bytes | str]) -> DatasetVersion:
    """Store a version, which may lack captions."""
    archive = media.write_zip(tmp_path / "annika.zip", files)
    upload = Upload(archive=archive, by="7", file_name="annika.zip", trigger="ann1ka")
    draft = datasets.inspect(upload)
    return datasets.store(GUILD, "annika", draft, allows_missing_captions=True)


def captions(datasets: Datasets) -> dict[str, str]:
    version = datasets.find(GUILD, "annika")
    return {one.name: one.caption for one in datasets.report(GUILD, version).samples}


def test_a_version_that_lacks_captions_is_kept_and_listed_but_not_trained_on(
    datasets: Datasets, tmp_path: Path
) -> None:
    version = add(datasets, tmp_path, FILES)

    assert version.without_caption == 1
    assert datasets.find(GUILD, "annika") == version
    assert datasets.newest(GUILD)[0] == [version]
    with pytest.raises(RequestError, match="1 sample lacks a caption") as error:
        datasets.find_complete(GUILD, "annika")
    assert error.value.remedy == WriteCaptions(name="annika@1")


def test_other_errors_are_refused_although_captions_may_be_missing(
    datasets: Datasets, tmp_path: Path
) -> None:
    with pytest.raises(DatasetRefusedError, match="broken"):
        add(datasets, tmp_path, {**FILES, "images/broken.png": b"no image"})


def test_a_version_is_complete_once_the_last_caption_is_written(
    datasets: Datasets, edits: DatasetEdits, tmp_path: Path
) -> None:
    add(datasets, tmp_path, FILES)

    changed, refused = edits.change_captions(
        GUILD, "annika", [CaptionChange(C, "", "ann1ka, three")], by="8"
    )

    assert refused == ()
    assert (changed.number, changed.without_caption, changed.added_by) == (2, 0, "8")
    assert datasets.find_complete(GUILD, "annika") == changed


def test_samples_without_a_caption_can_be_left_out_of_a_version(
    datasets: Datasets, edits: DatasetEdits, tmp_path: Path
) -> None:
    add(datasets, tmp_path, FILES)

    left = edits.leave_out(GUILD, "annika", by="7")

    assert (left.images, left.without_caption) == (2, 0)
    assert list(captions(datasets)) == [A, B]


def test_an_edit_of_a_version_that_lacks_captions_may_leave_some_missing(
    datasets: Datasets, edits: DatasetEdits, tmp_path: Path
) -> None:
    add(datasets, tmp_path, {**FILES, "images/d.png": media.png(seed=4)})

    changed, _ = edits.change_captions(GUILD, "annika", [CaptionChange(C, "", "three")], by="7")

    assert changed.without_caption == 1


def test_two_people_who_changed_different_captions_both_keep_theirs(
    datasets: Datasets, edits: DatasetEdits, tmp_path: Path
) -> None:
    add(datasets, tmp_path, COMPLETE)

    edits.change_captions(GUILD, "annika", [CaptionChange(A, "ann1ka, one", "by Ada")], by="1")
    _, refused = edits.change_captions(
        GUILD, "annika", [CaptionChange(B, "ann1ka, two", "by Ben")], by="2"
    )

    assert refused == ()
    assert captions(datasets) == {A: "by Ada", B: "by Ben", C: "ann1ka, three"}


def test_a_caption_that_somebody_else_changed_is_not_overwritten(
    datasets: Datasets, edits: DatasetEdits, tmp_path: Path
) -> None:
    add(datasets, tmp_path, COMPLETE)
    edits.change_captions(GUILD, "annika", [CaptionChange(A, "ann1ka, one", "by Ada")], by="1")

    late = CaptionChange(A, "ann1ka, one", "by Ben")
    other = CaptionChange(B, "ann1ka, two", "by Ben")
    version, refused = edits.change_captions(GUILD, "annika", [late, other], by="2")

    assert refused == (late,)
    assert version.number == 3
    assert captions(datasets) == {A: "by Ada", B: "by Ben", C: "ann1ka, three"}


def test_a_change_that_is_already_made_stores_nothing(
    datasets: Datasets, edits: DatasetEdits, tmp_path: Path
) -> None:
    add(datasets, tmp_path, COMPLETE)
    change = CaptionChange(A, "ann1ka, one", "the same words")
    edits.change_captions(GUILD, "annika", [change], by="1")

    version, refused = edits.change_captions(GUILD, "annika", [change], by="2")

    assert (version.number, refused) == (2, ())


def test_a_change_to_a_sample_that_was_left_out_is_handed_back(
    datasets: Datasets, edits: DatasetEdits, tmp_path: Path
) -> None:
    add(datasets, tmp_path, FILES)
    edits.leave_out(GUILD, "annika", by="7")

    change = CaptionChange(C, "", "too late")
    _, refused = edits.change_captions(GUILD, "annika", [change], by="2")

    assert refused == (change,)


@pytest.mark.parametrize("text", ["", " \u200b ", "a\x00b"])
def test_an_empty_or_binary_caption_is_refused(
    datasets: Datasets, edits: DatasetEdits, tmp_path: Path, text: str
) -> None:
    add(datasets, tmp_path, COMPLETE)

    with pytest.raises(RequestError, match=r"new caption of images/a\.png is empty"):
        edits.change_captions(GUILD, "annika", [CaptionChange(A, "ann1ka, one", text)], by="1")
    assert datasets.find(GUILD, "annika").number == 1


def test_nothing_is_lost_when_many_people_save_at_the_same_time(
    datasets: Datasets, edits: DatasetEdits, tmp_path: Path
) -> None:
    files: dict[str, bytes | str] = {}
    for n in range(8):
        files |= {f"images/{n}.png": media.png(seed=n + 1), f"images/{n}.txt": f"before {n}"}
    add(datasets, tmp_path, files)

    def save(n: int) -> tuple[CaptionChange, ...]:
        change = CaptionChange(f"images/{n}.png", f"before {n}", f"after {n}")
        return edits.change_captions(GUILD, "annika", [change], by=str(n))[1]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(save, range(8))) == [()] * 8

    assert sorted(captions(datasets).values()) == [f"after {n}" for n in range(8)]


def test_each_version_tells_who_or_what_wrote_its_captions(
    datasets: Datasets, edits: DatasetEdits, tmp_path: Path
) -> None:
    add(datasets, tmp_path, FILES)
    changes = [
        CaptionChange(A, "ann1ka, one", "ann1ka edited"),
        CaptionChange(C, "", "a proposal", is_accepted=True),
    ]
    version, _ = edits.change_captions(GUILD, "annika", changes, by="7")
    folder = tmp_path / "home" / store_keys.dataset(GUILD, "annika", version.number)
    empty(folder / store_keys.REPORT)  # it is made again from the zip and the kept captions

    _, _, found = datasets.difference(GUILD, "annika@1", "annika@2")

    assert {one.name: one.origin for one in found.captions} == {A: "edited", C: "accepted"}
    assert version.accepted_captions == 1
    later, _ = edits.change_captions(
        GUILD, "annika", [CaptionChange(C, "a proposal", "a proposal, edited")], by="7"
    )
    assert later.accepted_captions == 0


def test_captions_that_an_earlier_version_stored_are_read(
    datasets: Datasets, edits: DatasetEdits, tmp_path: Path
) -> None:
    add(datasets, tmp_path, COMPLETE)
    edits.change_captions(GUILD, "annika", [CaptionChange(A, "ann1ka, one", "ann1ka, uno")], by="7")
    stored = tmp_path / "home" / store_keys.dataset(GUILD, "annika", 2) / store_keys.CAPTIONS
    stored.write_text(json.dumps({A: "ann1ka, uno"}), "utf-8")

    changes = [CaptionChange(B, "ann1ka, two", "ann1ka, due")]
    version, refused = edits.change_captions(GUILD, "annika", changes, by="7")

    assert refused == ()
    assert version.edited_captions == 2
    assert captions(datasets) == {A: "ann1ka, uno", B: "ann1ka, due", C: "ann1ka, three"}
