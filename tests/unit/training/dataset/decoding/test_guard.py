"""The guard of a decoding process, as on systems that do not limit memory themselves."""

import subprocess
import sys

import pytest

from training.dataset.decoding.guard import Guard
from training.dataset.limits import Limits
from training.files.sizes import MIB

HOARDS = "held = bytearray(300 << 20); print('ready', flush=True); input()"
# Starts another program as its child, and waits for it.
LAUNCHER = ("sh", "-c", '"$@"; exit $?', "launcher")
RESTS = "print('ready', flush=True); input()"


def started(program: str, *through: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*through, sys.executable, "-S", "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> int:
    process.communicate()
    return process.returncode


@pytest.mark.parametrize("through", [(), LAUNCHER], ids=["itself", "its child"])
def test_a_process_that_takes_too_much_memory_is_killed(through: tuple[str, ...]) -> None:
    process = started(HOARDS, *through)

    with Guard(process, Limits(worker_bytes=200 * MIB), watches_memory=True) as guard:
        process.wait(60)

    assert guard.why == "used more than 200 MiB of memory"
    assert ended(process) != 0


def test_a_process_within_its_limits_goes_on() -> None:
    process = started(RESTS)
    assert process.stdout is not None

    with Guard(process, Limits(worker_bytes=200 * MIB), watches_memory=True) as guard:
        process.stdout.readline()

    assert guard.why is None
    assert process.poll() is None
    process.communicate("\n")
    assert process.returncode == 0


def test_a_process_that_takes_too_long_is_killed() -> None:
    process = started(RESTS)

    with Guard(process, Limits(worker_seconds=0), watches_memory=True) as guard:
        process.wait(60)

    assert guard.why == "took longer than 0 s"
    assert ended(process) != 0


def test_a_process_that_has_ended_is_left_alone() -> None:
    process = started("pass")
    process.wait(60)

    with Guard(process, Limits(), watches_memory=True) as guard:
        process.communicate()

    assert guard.why is None
    assert process.returncode == 0
