import multiprocessing
from pathlib import Path

import torch
from safetensors.torch import save_file  # pyright: ignore[reportUnknownVariableType]

from tests.ml.merge.merge_models import request_in
from training.merge.stream import merge

_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["tests.ml.merge.merge_models", "training.merge.writing"])
_MOST_MIB = 96


def resident_peak_mib() -> float:
    status = Path("/proc/self/status").read_text()
    return next(int(x.split()[1]) for x in status.splitlines() if x.startswith("VmHWM")) / 1024


def peak_of_a_merge(folder: Path) -> float:
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins here
    before = resident_peak_mib()
    merge(request_in(folder), workers=2)
    return resident_peak_mib() - before


def test_a_difference_larger_than_memory_should_be_is_added_piece_by_piece(tmp_path: Path) -> None:
    base, difference = (torch.full((8_000, 5_000), value) for value in (0.5, 0.25))
    base, difference = base.bfloat16(), difference.float()  # 80 and 160 MB
    save_file({"blocks.0.ffn.0.weight": base}, tmp_path / "base.safetensors")
    save_file({"blocks.0.ffn.0.diff": difference}, tmp_path / "lora.safetensors")

    with _PROCESSES.Pool(1) as pool:
        (peak,) = pool.map(peak_of_a_merge, [tmp_path])

    assert peak < _MOST_MIB
