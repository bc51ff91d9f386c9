"""How files get into a mount: each whole, and a folder's records last."""

import errno
from pathlib import Path

import pytest

from storage.modal.mounts import Mounts
from training.ports import BusyError

KEY = "guilds/1/runs/a/checkpoints/main/a-000001-state"


@pytest.fixture
def mounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mounts:
    """A mount on which no folder with files can be renamed, which Modal does not promise."""
    replace = Path.replace

    def refuse(path: Path, target: Path) -> Path:
        if path.is_dir():
            raise OSError(39, "Directory not empty", str(path))
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", refuse)
    monkeypatch.setattr(Path, "rename", refuse)
    return Mounts({"runs": tmp_path / "runs"}, frozenset({"runs"}))


def state(folder: Path, step: int, *others: str) -> Path:
    """Write a training state whose record says which step it is of."""
    (folder / "parts").mkdir(parents=True)
    for name in ("model.safetensors", "parts/optimizer.bin", "training_state.json", *others):
        (folder / name).write_text(f"{name} {step}")
    return folder


def contents(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_text() for path in files}


def test_a_folder_is_taken_in_without_renaming_a_folder(mounts: Mounts, tmp_path: Path) -> None:
    source = state(tmp_path / "made", 1)

    mounts.take_in(KEY, source)

    assert contents(mounts.path(KEY)) == contents(source)
    assert contents(mounts.folders["runs"] / ".tmp") == {}


def test_a_folder_replaces_another_one_whole(mounts: Mounts, tmp_path: Path) -> None:
    mounts.take_in(KEY, state(tmp_path / "old", 1, "scaler.pt", "stray.json"))
    source = state(tmp_path / "new", 2)

    mounts.take_in(KEY, source)

    assert contents(mounts.path(KEY)) == contents(source)


def test_a_folder_that_is_cut_off_has_no_record(
    mounts: Mounts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts.take_in(KEY, state(tmp_path / "old", 1))
    replace = Path.replace

    def break_off(path: Path, target: Path) -> Path:
        if path.name == "optimizer.bin":
            raise OSError(5, "Input/output error", str(path))
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", break_off)
    with pytest.raises(OSError, match="Input/output"):
        mounts.take_in(KEY, state(tmp_path / "new", 2))

    assert "training_state.json" not in contents(mounts.path(KEY))


def test_a_record_is_written_whole(mounts: Mounts) -> None:
    for number in (1, 2):
        mounts.write("guilds/1/runs/a/events/train-main-1.jsonl", b"{}\n" * number)

    path = mounts.path("guilds/1/runs/a/events/train-main-1.jsonl")
    assert path.read_bytes() == b"{}\n{}\n"
    assert contents(mounts.folders["runs"] / ".tmp") == {}


EVENTS = "guilds/1/runs/a/events/train-main-1.jsonl"
RECEIPT = "guilds/1/runs/a/receipts/train-main.json"


def write_and_fail(mounts: Mounts, made: Path, error: OSError) -> None:
    """Write a folder and two records, one of which is new; then the commit fails."""
    with mounts.undone_if_full([KEY], [EVENTS, RECEIPT]):
        mounts.take_in(KEY, made)
        mounts.write(EVENTS, b"started\nsaved\n")
        mounts.write(RECEIPT, b"{}")
        raise error


def test_what_does_not_fit_on_a_full_volume_is_taken_back(mounts: Mounts, tmp_path: Path) -> None:
    mounts.write(EVENTS, b"started\n")

    with pytest.raises(OSError, match="full"):
        write_and_fail(mounts, state(tmp_path / "made", 1), OSError(errno.ENOSPC, "full"))

    left = contents(mounts.folders["runs"])
    assert left == {EVENTS: "started\n"}


def test_files_that_a_full_volume_had_before_are_not_taken_back(
    mounts: Mounts, tmp_path: Path
) -> None:
    mounts.take_in(KEY, state(tmp_path / "old", 1))

    with pytest.raises(OSError, match="full"):
        write_and_fail(mounts, state(tmp_path / "new", 2), OSError(errno.ENOSPC, "full"))

    assert contents(mounts.path(KEY)) == contents(tmp_path / "new")


def test_what_a_busy_volume_refuses_stays_for_the_next_commit(
    mounts: Mounts, tmp_path: Path
) -> None:
    source = state(tmp_path / "made", 1)

    with pytest.raises(ConnectionError):
        write_and_fail(mounts, source, BusyError("too many layers"))

    assert contents(mounts.path(KEY)) == contents(source)
    assert mounts.path(EVENTS).read_bytes() == b"started\nsaved\n"
    assert mounts.path(RECEIPT).exists()
