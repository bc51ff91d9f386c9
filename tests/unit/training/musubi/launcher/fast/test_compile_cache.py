"""What one training compiled serves the next on the same kind of GPU."""

import logging
import shutil
import tarfile
from pathlib import Path

import pytest

from training.musubi.launcher.fast.compile_cache import (
    FOLDER_VARIABLE,
    STORED_VARIABLE,
    CompileCache,
    cache_of,
)


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder that stands for a machine's own disk."""
    folder = tmp_path / "machine"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def made(tmp_path: Path, card: str = "NVIDIA H100 80GB HBM3") -> tuple[CompileCache, Path]:
    """Return a cache and where its compilers write."""
    environment = {
        FOLDER_VARIABLE: str(tmp_path / "staged"),
        STORED_VARIABLE: str(tmp_path / "stored"),
    }
    cache = cache_of(environment, card, "2.11.0")
    assert cache is not None
    return cache, Path(environment["TORCHINDUCTOR_CACHE_DIR"])


def test_another_machine_has_what_was_compiled(tmp_path: Path, machine: Path) -> None:
    cache, written = made(tmp_path)
    (written / "fx").mkdir(parents=True)
    (written / "fx/graph").write_bytes(b"compiled")
    (written / "fx/graph.lock").touch()
    cache.save()
    (tmp_path / "staged").rename(tmp_path / "stored")
    shutil.rmtree(machine)
    machine.mkdir()

    _, found = made(tmp_path)

    assert found == written
    assert [path.name for path in sorted((found / "fx").iterdir())] == ["graph"]
    assert (found / "fx/graph").read_bytes() == b"compiled"


def test_another_gpu_has_a_file_of_its_own(tmp_path: Path) -> None:
    for card in ("NVIDIA H100 80GB HBM3", "NVIDIA H200"):
        made(tmp_path, card)[0].save()

    names = sorted(path.name for path in (tmp_path / "staged").iterdir())
    assert [name.rpartition("-")[0] for name in names] == ["NVIDIA-H100-80GB-HBM3", "NVIDIA-H200"]


def test_a_damaged_file_is_said_and_replaced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, machine: Path
) -> None:
    made(tmp_path)[0].save()
    (file,) = (tmp_path / "staged").iterdir()
    file.write_bytes(b"not an archive")
    shutil.rmtree(machine)
    machine.mkdir()

    with caplog.at_level(logging.WARNING):
        cache, _ = made(tmp_path)
    cache.save()

    assert "steps are compiled again" in caplog.text
    assert tarfile.is_tarfile(file)


def test_a_full_disk_does_not_end_the_training(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache, _ = made(tmp_path)
    (tmp_path / "staged").write_text("no folder")

    with caplog.at_level(logging.WARNING):
        cache.save()

    assert "The compiled graphs could not be stored" in caplog.text


def test_without_a_folder_there_is_no_cache() -> None:
    assert cache_of({}, "NVIDIA H200", "2.11.0") is None
