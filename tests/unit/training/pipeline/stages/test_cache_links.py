"""The folders that a trainer reads contain the run's cache files and nothing else."""

from pathlib import Path

import pytest

from training.errors import StageError
from training.pipeline.stages.cache_making import clean_caches, link_caches
from training.rehearsal import tensor_file

PLACE = "clips/001_0064x0064_wan.safetensors"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    stored = tmp_path / "store/a.safetensors"
    stored.parent.mkdir()
    tensor_file.write(stored, {}, {})
    link_caches(tmp_path / "caches", {PLACE: stored})
    return tmp_path / "caches"


def test_everything_that_does_not_belong_there_is_removed(folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    (folder / "clips/foreign_wan.safetensors").touch()
    (folder / "clips/.hidden").touch()
    (folder / "clips/folder_wan.safetensors/inner").mkdir(parents=True)
    (folder / "clips/link_wan.safetensors").symlink_to(outside)

    clean_caches(folder, {PLACE})

    assert [path.relative_to(folder).as_posix() for path in folder.glob("*/*")] == [PLACE]
    assert (outside / "kept").exists()


@pytest.mark.parametrize("content", [None, b"cut off"])
def test_a_missing_or_truncated_file_is_named(folder: Path, content: bytes | None) -> None:
    stored = (folder / PLACE).resolve()
    stored.unlink()
    if content is not None:
        stored.write_bytes(content)

    with pytest.raises(StageError, match="001_0064x0064_wan"):
        clean_caches(folder, {PLACE})
