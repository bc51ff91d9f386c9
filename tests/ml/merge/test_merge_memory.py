import multiprocessing
import resource
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file  # pyright: ignore[reportUnknownVariableType]

from tests.ml.merge.merge_models import request_in
from training.merge.merge import merge

_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["tests.ml.merge.merge_models", "training.merge.tensors.writing"])
_MOST_BYTES = 128 << 20  # the difference has 160 MB


def allow(more_bytes: int) -> None:
    """Let this process allocate this much more memory; pages of mapped files do not count."""
    status = Path("/proc/self/status").read_text().splitlines()
    held_kib = next(int(line.split()[1]) for line in status if line.startswith("VmData:"))
    limit = held_kib * 1024 + more_bytes
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def merge_within_the_limit(folder: Path) -> int:
    allow(_MOST_BYTES)
    return merge(request_in(folder), workers=2).layers_extra


def hold_it_whole(folder: Path) -> None:
    allow(_MOST_BYTES)
    load_file(folder / "lora.safetensors")["blocks.0.ffn.0.diff"].add(0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("large")
    base, difference = (torch.full((8_000, 5_000), value) for value in (0.5, 0.25))
    base, difference = base.bfloat16(), difference.float()  # 80 and 160 MB
    save_file({"blocks.0.ffn.0.weight": base}, folder / "base.safetensors")
    save_file({"blocks.0.ffn.0.diff": difference}, folder / "lora.safetensors")
    return folder


def test_a_difference_larger_than_memory_should_be_is_added_piece_by_piece(folder: Path) -> None:
    with _PROCESSES.Pool(1) as pool:
        assert pool.map(merge_within_the_limit, [folder]) == [0]


def test_the_limit_is_too_low_for_the_whole_tensor(folder: Path) -> None:
    with _PROCESSES.Pool(1) as pool, pytest.raises((RuntimeError, MemoryError)):
        pool.map(hold_it_whole, [folder])
