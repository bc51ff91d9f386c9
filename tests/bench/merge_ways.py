"""The ways of merging that the benchmark compares, each run alone from the same start."""

import json
import os
import resource
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from safetensors.torch import load_file, save_file  # pyright: ignore[reportUnknownVariableType]

from training.merge.merge import MergeRequest, merge

Way = Literal["cp", "plain", "merge, base hash known", "merge"]
WAYS: tuple[Way, ...] = ("cp", "plain", "merge, base hash known", "merge")
# The merge trusts the hash of a fetch receipt, so any hash will do.
_KNOWN_SHA256 = "0" * 64
_PIECE_BYTES = 1 << 26


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The figures of one run; `durable` is the time until its output was on the disk."""

    returned: float
    durable: float
    cpu: float
    peak_gib: float


def measure(way: Way, base: Path, lora: Path) -> Measured:
    """Run `way` in a process of its own, with its inputs in the page cache and no output yet."""
    for old in base.parent.glob("output.*"):
        old.unlink()
    os.sync()
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for path in (base, lora):
            list(pool.map(_read, *zip(*_pieces(path), strict=True)))
    output = base.with_name("output.safetensors")
    if way == "cp":
        return _timed(way, base, lora, output)
    command = [sys.executable, "-m", "tests.bench.merge_ways", way, *map(str, (base, lora, output))]
    root = Path(__file__).parents[2]
    run = subprocess.run(command, cwd=root, check=True, stdout=subprocess.PIPE, text=True)
    return Measured(**json.loads(run.stdout))


def _pieces(path: Path) -> list[tuple[Path, int]]:
    return [(path, start) for start in range(0, path.stat().st_size, _PIECE_BYTES)]


def _read(path: Path, start: int) -> None:
    with path.open("rb", buffering=0) as file:
        file.seek(start)
        file.read(_PIECE_BYTES)


def _timed(way: Way, base: Path, lora: Path, output: Path) -> Measured:
    cpu, started = _cpu_seconds(), time.perf_counter()
    if way == "cp":
        subprocess.run(["cp", base, output], check=True)
    elif way == "plain":
        _merge_plainly(base, lora, output)
    else:
        known = _KNOWN_SHA256 if way == "merge, base hash known" else None
        merge(MergeRequest(base=base, lora=lora, output=output, base_sha256=known))
    returned = time.perf_counter() - started
    with output.open("rb") as file:
        os.fsync(file.fileno())
    durable = time.perf_counter() - started
    cpu = _cpu_seconds() - cpu
    return Measured(returned=returned, durable=durable, cpu=cpu, peak_gib=_peak_kib() / 2**20)


def _peak_kib() -> int:
    # Do not use `ru_maxrss`, which starts at the value of the parent process.
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))


def _cpu_seconds() -> float:
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def _merge_plainly(base: Path, lora: Path, output: Path) -> None:
    """Merge as the published templates do: all in memory, every step into new memory."""
    weights, pairs = load_file(base), load_file(lora)
    for name in [key.removesuffix(".weight") for key in weights]:
        stem = f"diffusion_model.{name}"
        down, up = (pairs[f"{stem}.lora_{part}.weight"].float() for part in ("down", "up"))
        scale = pairs[f"{stem}.alpha"].item() / down.shape[0]
        weight = weights[f"{name}.weight"]
        weights[f"{name}.weight"] = (weight.float() + scale * (up @ down)).to(weight.dtype)
    save_file(weights, output)


def _child(way: str, *files: str) -> None:
    chosen: dict[str, Way] = {known: known for known in WAYS}
    sys.stdout.write(json.dumps(asdict(_timed(chosen[way], *map(Path, files)))))


if __name__ == "__main__":
    _child(*sys.argv[1:])
