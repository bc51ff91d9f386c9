"""Files that programs leave in a zip are left out, unless they have a caption."""

from pathlib import Path

import pytest

from tests import media
from training.dataset.inspect import inspect_zip
from training.dataset.limits import Limits
from training.dataset.zip.archive import open_archive

OWN = [
    ["...dots.png", "...dots.txt"],
    ["....mp4", "....txt"],
    [".hidden.png", ".hidden.txt"],
    [".hidden.png"],
    [".hidden.png", ".hidden.png.txt"],
    [".hidden.PNG", ".hidden.caption"],
    ["~$a.png", "~$a.txt"],
    ["._a.png", "._a.txt"],
    ["__MACOSX/a.png", "__MACOSX/a.txt"],
    ["@eaDir/a.png", "@eaDir/a.txt"],
    [".ipynb_checkpoints/a-checkpoint.png", ".ipynb_checkpoints/a-checkpoint.txt"],
]
JUNK = [
    ["set/.DS_Store"],
    ["Thumbs.db", "x/desktop.ini", "Icon\r"],
    ["__MACOSX/set/._x.png", "__MACOSX/set/._x.txt"],
    ["set/._x.png", "set/._x.txt"],
    ["@eaDir/x.png/SYNOPHOTO_THUMB_M.jpg"],
    [".git/HEAD", ".git/logo.png"],
    ["set/.ipynb_checkpoints/x-checkpoint.png", "set/.ipynb_checkpoints/x-checkpoint.txt"],
    [".gitignore", ".hidden.txt"],
]


def sorted_out(folder: Path, names: list[str]) -> tuple[set[str], set[str]]:
    """Return the members and the junk of a zip with these files beside a plain sample."""
    files = dict.fromkeys([*names, "set/x.png", "set/x.txt"], b"x")
    with open_archive(media.write_zip(folder / "a.zip", files), Limits()) as archive:
        return {member.path for member in archive.members}, set(archive.junk)


@pytest.mark.parametrize("names", OWN, ids=lambda names: names[0])
def test_images_and_clips_are_the_users_own(tmp_path: Path, names: list[str]) -> None:
    assert sorted_out(tmp_path, names) == ({*names, "set/x.png", "set/x.txt"}, set())


@pytest.mark.parametrize("names", JUNK, ids=lambda names: names[0])
def test_files_of_programs_are_left_out(tmp_path: Path, names: list[str]) -> None:
    assert sorted_out(tmp_path, names) == ({"set/x.png", "set/x.txt"}, set(names))


def test_odd_and_long_names_keep_their_samples_apart(tmp_path: Path) -> None:
    stems = ["...dots", "dots", "~$dots", "猫", "犬", "x" * 240, f"{'x' * 239}y", "a" * 70 + ".b"]
    files: dict[str, bytes | str] = {}
    for index, stem in enumerate(stems):
        files |= {f"{stem}.png": media.png(seed=index), f"{stem}.txt": f"ann1ka {index}"}

    report = inspect_zip(media.write_zip(tmp_path / "a.zip", files))

    assert {sample.source: sample.caption for sample in report.samples} == {
        f"{stem}.png": f"ann1ka {index}" for index, stem in enumerate(stems)
    }
    assert len({sample.name.casefold() for sample in report.samples}) == len(stems)
    assert report.is_usable
