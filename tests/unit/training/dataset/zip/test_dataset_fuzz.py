"""A sample of the damaged zips of `make fuzz`."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[5]


def test_damaged_zips_are_reported_or_refused_and_leave_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.bench_fuzz", "--zips", "40"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "40 mutated zips" in done.stdout
    assert "0 crashes" in done.stdout
    assert "repaired" in done.stdout
    assert "refused" in done.stdout
