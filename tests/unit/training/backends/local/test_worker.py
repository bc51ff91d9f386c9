"""The worker service outlives every error."""

import logging
from pathlib import Path

import pytest

from training.backends.local.queue import LocalBackend
from training.backends.local.worker import Worker


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), ValueError("a bug")])
def test_the_worker_goes_on_after_any_error_and_says_it_once(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
) -> None:
    for name in ("TROUBLE_SECONDS", "TICK_SECONDS", "POLL_SECONDS"):
        monkeypatch.setattr(f"training.backends.local.worker.{name}", 0.0)
    ticks = list[int]()

    def tick() -> int:
        ticks.append(1)
        if len(ticks) < 5:
            raise error
        return 1

    worker = Worker(LocalBackend(tmp_path, lambda: None), {}, lambda _number: ("true",), tick)

    with caplog.at_level(logging.ERROR, logger="training.backends.local.worker"):
        worker.serve(lambda: len(ticks) == 7)

    assert len(ticks) == 7
    assert [str(error) in line.getMessage() for line in caplog.records] == [True]
    assert bool(caplog.records[0].exc_info) is isinstance(error, ValueError)
