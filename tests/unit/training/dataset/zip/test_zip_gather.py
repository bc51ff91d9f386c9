"""Several uploaded files become one zip."""

import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from tests.media import write_zip
from training.dataset.limits import Limits
from training.dataset.zip.archive import ArchiveRefusedError
from training.dataset.zip.gather import GatheredFile, gather
from training.errors import DatasetError


def zipped(folder: Path, name: str, files: dict[str, bytes | str]) -> GatheredFile:
    return GatheredFile(name, write_zip(folder / name, files))


def single(folder: Path, path: str, data: bytes) -> GatheredFile:
    file = folder / path.replace("/", "-")
    file.write_bytes(data)
    return GatheredFile(path, file)


def contents(archive: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(archive) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def test_a_single_zip_is_used_as_it_is(tmp_path: Path) -> None:
    only = zipped(tmp_path, "annika.ZIP", {"a.txt": "one"})

    assert gather([only], tmp_path / "target.zip") == only.file
    assert not (tmp_path / "target.zip").exists()


def test_files_of_a_folder_keep_their_paths(tmp_path: Path) -> None:
    files = [single(tmp_path, "set/ä.txt", b"one"), single(tmp_path, "set/b/a.png", b"two")]

    found = gather(files, tmp_path / "target.zip")

    assert contents(found) == {"set/ä.txt": b"one", "set/b/a.png": b"two"}


def test_zips_that_split_one_folder_are_joined(tmp_path: Path) -> None:
    files = [
        zipped(tmp_path, "set-001.zip", {"set/a.png": b"picture", "set/both.txt": "same"}),
        zipped(tmp_path, "set-002.zip", {"set/a.txt": "caption", "set/both.txt": "same"}),
        single(tmp_path, "set/b.txt", b"beside"),
    ]

    found = contents(gather(files, tmp_path / "target.zip"))

    assert found == {
        "set/a.png": b"picture",
        "set/a.txt": b"caption",
        "set/both.txt": b"same",
        "set/b.txt": b"beside",
    }


def test_files_of_one_name_and_different_content_are_named(tmp_path: Path) -> None:
    files = [
        zipped(tmp_path, "one.zip", {"a.png": b"first", "b.png": b"b"}),
        zipped(tmp_path, "two.zip", {"a.png": b"second", "c.png": b"c"}),
    ]

    with pytest.raises(DatasetError, match=r"a\.png \(one\.zip and two\.zip\)"):
        gather(files, tmp_path / "target.zip")


def test_a_zip_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    files = [
        zipped(tmp_path, "one.zip", {"a.png": b"first"}),
        single(tmp_path, "two.zip", b"no zip"),
    ]

    with pytest.raises(ArchiveRefusedError, match=r"two\.zip: The file is not a zip"):
        gather(files, tmp_path / "target.zip")


def test_several_zips_share_the_limit_on_unpacked_size(tmp_path: Path) -> None:
    limits = replace(Limits(), unpacked_bytes=1000)
    files = [zipped(tmp_path, f"{n}.zip", {f"{n}.png": bytes(600)}) for n in (1, 2)]

    with pytest.raises(DatasetError, match="Unpacked"):
        gather(files, tmp_path / "target.zip", limits)


def test_no_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no files"):
        gather([], tmp_path / "target.zip")
