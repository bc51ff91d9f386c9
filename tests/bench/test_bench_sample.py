"""A small sample of `make bench`; its figures are shown, not judged."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.merge_inputs import BLOCK_GIGABYTES
from tests.bench.merge_ways import WAYS

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


def test_the_benchmark_of_merges_compares_all_ways(tmp_path: Path) -> None:
    size = ("--gigabytes", f"{BLOCK_GIGABYTES:.2f}", "--runs", "1", "--cores", "1")

    figures = measured("bench_merge", *size, "--folder", str(tmp_path))

    assert [way for way in WAYS if way not in figures] == []


def test_the_benchmark_of_datasets_measures_a_few_clips(tmp_path: Path) -> None:
    few = ("--clips", "2", "--repaired", "1", "--runs", "1")

    assert "2 clips" in measured("bench_dataset", *few, "--folder", str(tmp_path))


def measured(benchmark: str, *arguments: str) -> str:
    """Run a benchmark and return what it prints."""
    command = [sys.executable, "-m", f"tests.bench.{benchmark}", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
