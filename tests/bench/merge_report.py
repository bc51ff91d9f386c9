"""The merge benchmark's figures as text."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

import torch

from tests.bench.machine import machine
from tests.bench.merge_inputs import RANK
from tests.bench.merge_ways import Measured, Way

_PLAIN_WAYS = ("cp", "plain")


def table(base: Path, measured: Mapping[Way, Sequence[Measured]]) -> str:
    """Return the median and spread of each way, and the merges' ratios to the others."""
    size = base.stat().st_size / 1e9
    lines = [
        f"{machine()}, torch {torch.__version__}",
        f"{size:.2f} GB of bf16, rank {RANK} on all layers, page cache warm, on {_disk(base)}; "
        f"median of {max(map(len, measured.values()))} alternating runs (least to most)",
        f"{'':24}{'until it returns':24}{'until it is on the disk':26}CPU time   peak memory",
    ]
    lines += [_row(way, runs) for way, runs in measured.items()]
    lines += [
        line
        for way, runs in measured.items()
        if way not in _PLAIN_WAYS
        for line in _ratios(way, runs, measured)
    ]
    return "\n".join(lines) + "\n\n"


def _row(way: Way, runs: Sequence[Measured]) -> str:
    returned, durable = ([getattr(run, at) for run in runs] for at in ("returned", "durable"))
    cpu, peak = median(run.cpu for run in runs), max(run.peak_gib for run in runs)
    memory = "" if way == "cp" else f"{peak:5.2f} GiB"
    return f"{way:24}{_seconds(returned):24}{_seconds(durable):26}{cpu:6.1f} s   {memory}"


def _seconds(found: Sequence[float]) -> str:
    return f"{median(found):6.2f} s ({min(found):.2f} to {max(found):.2f})"


def _ratios(
    way: Way, runs: Sequence[Measured], measured: Mapping[Way, Sequence[Measured]]
) -> list[str]:
    own = median(run.durable for run in runs)
    lines: list[str] = []
    for at, place in (("durable", "on the disk"), ("returned", "in the page cache only")):
        other = {
            name: median(getattr(run, at) for run in measured[name])
            for name in _PLAIN_WAYS
            if name in measured
        }
        parts = [f"{own / other['cp']:.2f} times cp"] if "cp" in other else []
        if "plain" in other:
            parts.append(f"{other['plain'] / own:.2f} times faster than plain")
        if parts:
            lines.append(f"{way}: {', '.join(parts)} (their output {place})")
    return lines


def _disk(path: Path) -> str:
    found = subprocess.run(
        ["df", "--output=fstype,source", path], capture_output=True, text=True, check=True
    )
    return " ".join(found.stdout.splitlines()[-1].split()) + f", {os.path.realpath(path.parent)}"
