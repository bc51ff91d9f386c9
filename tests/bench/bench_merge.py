"""How long a merge takes beside `cp` and the plain way, on one disk with a warm page cache.

`python -m tests.bench.bench_merge --gigabytes 8.4 --runs 5 --folder /some/disk`
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file  # pyright: ignore[reportUnknownVariableType]

from training.merge.hashing import file_sha256
from training.merge.stream import MergeRequest, merge

_WIDTH, _INNER, _RANK = 5_120, 13_824, 64
_BLOCK = {
    **{f"{kind}.{m}": (_WIDTH, _WIDTH) for kind in ("self_attn", "cross_attn") for m in "qkvo"},
    "ffn.0": (_INNER, _WIDTH),
    "ffn.2": (_WIDTH, _INNER),
}
_BLOCK_GIGABYTES = sum(out * into for out, into in _BLOCK.values()) * 2 / 1e9
_WAYS = ("cp", "cp and sync", "plain", "merge", "merge, base hash known")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=8.4)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=None, help="where to write; needs 3x")
    parser.add_argument("--ways", nargs="+", default=list(_WAYS), choices=_WAYS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        report(Path(folder), options.gigabytes, options.runs, options.ways)


def report(folder: Path, gigabytes: float, runs: int, ways: list[str]) -> None:
    """Print the median seconds and the peak memory of each way."""
    base, lora, output = (folder / f"{name}.safetensors" for name in ("base", "lora", "output"))
    _write_model(base, lora, blocks=round(gigabytes / _BLOCK_GIGABYTES))
    results: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    for _ in range(runs):
        for way in ways:
            _prepare(base, lora, output)
            results[way].append(_in_child(way, base, lora, output))
    cores, size = len(os.sched_getaffinity(0)), base.stat().st_size / 1e9
    lines = [f"{size:.2f} GB bf16, rank {_RANK} on all layers, {cores} cores, {platform.release()}"]
    medians = {
        way: statistics.median(run["seconds"] for run in found) for way, found in results.items()
    }
    for way, found in results.items():
        times = [run["seconds"] for run in found]
        beside = ", ".join(
            f"{medians[way] / medians[w]:.2f} x {w}" for w in _WAYS[:3] if w in ways and w != way
        )
        peak = max(run["peak_gib"] for run in found)
        spread = f"({min(times):.2f} to {max(times):.2f})"
        lines.append(f"{way:24} {medians[way]:6.2f} s {spread}, {beside}; peak {peak:.2f} GiB")
    sys.stdout.write("\n".join(lines) + "\n")


def _write_model(base: Path, lora: Path, *, blocks: int) -> None:
    names = [(f"blocks.{b}.{name}", shape) for b in range(blocks) for name, shape in _BLOCK.items()]
    # Random bits would hold NaN; one random matrix, rolled, is as good and much faster to make.
    source = torch.randn(_INNER * _WIDTH, generator=torch.Generator().manual_seed(0)) * 0.02
    weights = {
        f"{name}.weight": source[: out * into].reshape(out, into).roll(i).bfloat16()
        for i, (name, (out, into)) in enumerate(names)
    }
    save_file(weights, base)
    del weights
    pairs: dict[str, torch.Tensor] = {}
    for i, (name, (out, into)) in enumerate(names):
        stem = f"diffusion_model.{name}"
        pairs[f"{stem}.lora_down.weight"] = source[: _RANK * into].roll(i).reshape(_RANK, into)
        pairs[f"{stem}.lora_up.weight"] = source[: _RANK * out].roll(-i).reshape(out, _RANK)
        pairs[f"{stem}.alpha"] = torch.tensor(_RANK)
    save_file(pairs, lora)


def _prepare(base: Path, lora: Path, output: Path) -> None:
    for old in output.parent.glob("output.*"):
        old.unlink()
    os.sync()
    buffer = bytearray(1 << 22)
    for path in (base, lora):
        with path.open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass


def _in_child(way: str, base: Path, lora: Path, output: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.bench.bench_merge", "--child", way]
    root = Path(__file__).parents[2]
    run = subprocess.run(
        [*command, str(base), str(lora), str(output)],
        cwd=root,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return json.loads(run.stdout)


def _child(way: str, base: Path, lora: Path, output: Path) -> None:
    known = file_sha256(base) if way == "merge, base hash known" else None
    started = time.perf_counter()
    if way in ("cp", "cp and sync"):
        subprocess.run(["cp", base, output], check=True)
        if way == "cp and sync":
            subprocess.run(["sync", output], check=True)
    elif way == "plain":
        _merge_plainly(base, lora, output)
    else:
        merge(MergeRequest(base=base, lora=lora, output=output, base_sha256=known))
    seconds = time.perf_counter() - started
    status = Path("/proc/self/status").read_text()
    peak = next(int(line.split()[1]) for line in status.splitlines() if "VmHWM" in line)
    sys.stdout.write(json.dumps({"seconds": seconds, "peak_gib": peak / 2**20}))


def _merge_plainly(base: Path, lora: Path, output: Path) -> None:
    weights, pairs = load_file(base), load_file(lora)
    for name in [key.removesuffix(".weight") for key in weights]:
        stem = f"diffusion_model.{name}"
        down, up = (pairs[f"{stem}.lora_{part}.weight"].float() for part in ("down", "up"))
        scale = pairs[f"{stem}.alpha"].item() / down.shape[0]
        weight = weights[f"{name}.weight"]
        weights[f"{name}.weight"] = (weight.float() + scale * (up @ down)).to(weight.dtype)
    save_file(weights, output)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        _child(sys.argv[2], *map(Path, sys.argv[3:]))
    else:
        main()
