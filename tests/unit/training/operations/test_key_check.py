"""The keys of a saved checkpoint are checked from its header."""

from pathlib import Path

import pytest

from storage.local.store import FolderStore
from tests.adapters import widths, write_header
from tests.specs import spec as a_spec
from training.errors import AdapterError
from training.operations.key_check import check_keys
from training.runs.state import Checkpoint

SPEC = a_spec("wan21-t2v-14b")


def saved(tmp_path: Path, *, of: str = "wan21-t2v-14b", rank: int = 24) -> Checkpoint:
    """Store a checkpoint of the run as a trainer writes it."""
    file = "checkpoints/main/mine.safetensors"
    path = tmp_path / SPEC.keys.folder / file
    path.parent.mkdir(parents=True)
    write_header(path, widths(of, "musubi"), rank=rank)
    return Checkpoint(file, 1, 10, path.stat().st_size, is_final=True)


def test_a_good_checkpoint_says_how_many_modules_load(tmp_path: Path) -> None:
    checkpoint = saved(tmp_path)

    assert check_keys(FolderStore(tmp_path), SPEC, "main", checkpoint) == "400/400 modules load"


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"of": "wan21-t2v-1-3b"}, "300 modules"), ({"rank": 8}, "rank 8, but 24 is expected")],
)
def test_a_checkpoint_that_does_not_fit_is_refused(
    tmp_path: Path, changes: dict[str, str], said: str
) -> None:
    checkpoint = saved(tmp_path, **changes)  # pyright: ignore[reportArgumentType]

    with pytest.raises(AdapterError, match=said):
        check_keys(FolderStore(tmp_path), SPEC, "main", checkpoint)


@pytest.mark.parametrize("kept_bytes", [0, 4, 400])
def test_a_checkpoint_that_is_cut_off_is_refused(tmp_path: Path, kept_bytes: int) -> None:
    checkpoint = saved(tmp_path)
    path = tmp_path / SPEC.keys.folder / checkpoint.file
    path.write_bytes(path.read_bytes()[:kept_bytes])

    with pytest.raises(AdapterError):
        check_keys(FolderStore(tmp_path), SPEC, "main", checkpoint)
