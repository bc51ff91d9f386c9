"""A new version of a dataset keeps its trigger word, unless another is given."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from storage.local.store import FolderStore
from tests import media
from training.errors import RequestError
from training.registry.checked_uploads import CheckedUploads
from training.registry.dataset_draft import TriggerChange, Upload, leave_out
from training.registry.dataset_edits import DatasetEdits
from training.registry.datasets import Datasets

GUILD = "g"
MakeUpload = Callable[..., Upload]


@pytest.fixture
def datasets(tmp_path: Path) -> Datasets:
    """Return a store with one dataset, whose trigger word is ann1ka."""
    found = Datasets(FolderStore(tmp_path / "home"))
    found.add(GUILD, "annika", upload(tmp_path, 1, trigger="ann1ka"))
    return found


def upload(
    folder: Path, seed: int, *, caption: str | None = "a woman", trigger: str = ""
) -> Upload:
    files: dict[str, bytes | str] = {
        f"{seed}-{n}.png": media.png(seed=2 * seed + n) for n in (0, 1)
    }
    files[f"{seed}-0.txt"] = "a woman"
    if caption is not None:
        files[f"{seed}-1.txt"] = caption
    path = media.write_zip(folder / f"{seed}.zip", files)
    return Upload(archive=path, by="7", file_name="annika.zip", trigger=trigger or None)


def test_an_upload_keeps_the_word_and_its_record_says_so(
    datasets: Datasets, tmp_path: Path
) -> None:
    version, report = datasets.add(GUILD, "annika", upload(tmp_path, 2))

    assert (version.number, version.trigger) == (2, "ann1ka")
    assert version.change == "uploaded, trigger word ann1ka kept"
    assert "trigger-missing" in report.codes()


def test_another_word_replaces_it(datasets: Datasets, tmp_path: Path) -> None:
    version, _ = datasets.add(GUILD, "annika", upload(tmp_path, 2, trigger="ohwx"))

    assert (version.trigger, version.change) == ("ohwx", "uploaded")


def test_the_same_zip_again_is_no_new_version(datasets: Datasets, tmp_path: Path) -> None:
    version, _ = datasets.add(GUILD, "annika", upload(tmp_path, 1))

    assert version.number == 1


@pytest.mark.parametrize("mode", ["add", "replace"])
def test_added_files_keep_it_too(datasets: Datasets, tmp_path: Path, mode: str) -> None:
    edits = DatasetEdits(datasets)

    version = edits.extend(GUILD, "annika", upload(tmp_path, 2), is_replacing=mode == "replace")

    assert version.trigger == "ann1ka"
    assert version.change == "annika@1 with 2 samples added, trigger word ann1ka kept"


def test_files_added_to_an_older_version_keep_the_word_of_that_version(
    datasets: Datasets, tmp_path: Path
) -> None:
    edits = DatasetEdits(datasets)
    edits.set_trigger(GUILD, "annika", TriggerChange("ohwx"), by="7")

    draft = datasets.inspect_for(GUILD, "annika@1", upload(tmp_path, 2))
    version = edits.join(GUILD, "annika@1", replace(draft, mode="add"))

    assert version.trigger == "ann1ka"


def test_a_waiting_upload_keeps_it_until_it_is_stored(datasets: Datasets, tmp_path: Path) -> None:
    checked = CheckedUploads(FolderStore(tmp_path / "home"))
    waiting = datasets.inspect_for(GUILD, "annika", upload(tmp_path, 2, caption=None))
    name, draft = checked.find(GUILD, checked.keep(GUILD, "annika", waiting))

    version = datasets.store(GUILD, name, leave_out(draft, by="7"))

    assert version.trigger == "ann1ka"
    assert version.change == "uploaded, trigger word ann1ka kept, 1 sample left out"


def test_a_word_that_must_be_prefixed_may_be_the_stored_one(
    datasets: Datasets, tmp_path: Path
) -> None:
    wanted = replace(upload(tmp_path, 2), is_prefixed=True)

    version, report = datasets.add(GUILD, "annika", wanted)

    assert {sample.caption for sample in report.samples} == {"ann1ka, a woman"}
    assert version.edited_captions == 2
    with pytest.raises(RequestError, match="There is no trigger word"):
        datasets.add(GUILD, "other", wanted)


def test_a_dataset_without_a_word_gets_none(datasets: Datasets, tmp_path: Path) -> None:
    datasets.add(GUILD, "plain", upload(tmp_path, 2))

    version, _ = datasets.add(GUILD, "plain", upload(tmp_path, 3))

    assert (version.trigger, version.change) == (None, "uploaded")
