"""A small sample of `make chaos`: faults at random change no byte of a checkpoint."""

from pathlib import Path

import pytest

from tests.wire.modal.chaos import disturbed, play, undisturbed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
FAULTS = 25
LIGHTNING = "wan22-i2v-lightning"


def test_a_run_with_random_faults_ends_with_the_same_checkpoints(tmp_path: Path) -> None:
    calm = play(tmp_path / "calm", [LIGHTNING], undisturbed, expert="high")

    chaos = disturbed(seed=1, faults=FAULTS, every=12)
    found = play(tmp_path / "chaos", [LIGHTNING], chaos, expert="high")

    assert sum(found.faults.values()) == FAULTS
    assert len(calm.checkpoints) == 2
    assert found.checkpoints == calm.checkpoints
