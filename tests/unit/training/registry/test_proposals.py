"""Proposed captions are kept beside a dataset, for as long as its files are the same."""

from functools import partial
from pathlib import Path

import pytest

from storage.local.leases import FileLeases
from storage.local.store import FolderStore
from tests import media
from tests.at_once import at_once
from tests.unit.training.dataset.samples import image
from training import store_keys
from training.registry.dataset_draft import Upload
from training.registry.datasets import Datasets
from training.registry.proposals import Proposal, Proposals, fitting

GUILD = "g"


def proposal(text: str, sha256: str = "0") -> Proposal:
    return Proposal(text=text, captioner="a captioner", sha256=sha256)


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "home")


@pytest.fixture
def proposals(store: FolderStore, tmp_path: Path) -> Proposals:
    return Proposals(store, FileLeases(tmp_path / "leases"))


def test_proposals_of_a_dataset_are_kept_until_they_are_discarded(proposals: Proposals) -> None:
    first, second = proposal("a cat"), proposal("ein Hund, 犬")
    proposals.write(GUILD, "annika", {"images/a.png": first, "images/b.png": proposal("old")})
    proposals.write(GUILD, "annika", {"images/b.png": second})

    assert proposals.read(GUILD, "annika") == {"images/a.png": first, "images/b.png": second}
    assert proposals.read(GUILD, "other") == {}
    assert proposals.read("another guild", "annika") == {}

    proposals.discard(GUILD, "annika", ["images/a.png", "images/unknown.png"])
    assert proposals.read(GUILD, "annika") == {"images/b.png": second}
    proposals.discard(GUILD, "annika", ["images/b.png"])
    assert proposals.read(GUILD, "annika") == {}


def test_changes_to_proposals_at_the_same_moment_are_all_kept(
    proposals: Proposals, store: FolderStore, tmp_path: Path
) -> None:
    names = [f"images/{index}.png" for index in range(4)]
    proposals.write(GUILD, "annika", {name: proposal("old") for name in names})
    other = Proposals(store, FileLeases(tmp_path / "leases"))

    at_once(
        [
            *(partial(proposals.discard, GUILD, "annika", [name]) for name in names),
            *(partial(other.write, GUILD, "annika", {f"{n}2": proposal(n)}) for n in names),
        ]
    )

    assert set(proposals.read(GUILD, "annika")) == {f"{name}2" for name in names}


def test_only_proposals_for_the_same_files_fit_a_version() -> None:
    found = {
        "images/same.png": proposal("same", "0"),
        "images/replaced.png": proposal("replaced", "1"),
        "images/gone.png": proposal("gone", "0"),
    }

    samples = [image("same"), image("replaced"), image("new")]
    assert list(fitting(found, samples)) == ["images/same.png"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"proposals": {"a": 1}}'])
def test_a_damaged_file_of_proposals_counts_as_empty_and_can_be_written_again(
    proposals: Proposals, store: FolderStore, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    store.write(store_keys.proposals(GUILD, "annika"), content)

    assert proposals.read(GUILD, "annika") == {}
    assert "is damaged" in caplog.text
    proposals.write(GUILD, "annika", {"images/a.png": proposal("a cat")})
    assert len(proposals.read(GUILD, "annika")) == 1


def test_proposals_go_with_the_last_version_of_their_dataset(
    proposals: Proposals, store: FolderStore, tmp_path: Path
) -> None:
    datasets = Datasets(store)
    for seed in (1, 2):
        files = {"a.png": media.png(seed=seed), "a.txt": "a cat"}
        archive = media.write_zip(tmp_path / f"{seed}.zip", files)
        datasets.add(GUILD, "annika", Upload(archive=archive, by="7", file_name="annika.zip"))
    proposals.write(GUILD, "annika", {"images/a.png": proposal("a dog")})

    datasets.delete(GUILD, "annika", 2)
    assert len(proposals.read(GUILD, "annika")) == 1
    datasets.delete(GUILD, "annika", 1)
    assert proposals.read(GUILD, "annika") == {}
    assert datasets.names(GUILD) == []
