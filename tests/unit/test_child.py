"""A failing program of a stage: its log becomes cause, fix and suggestion."""

import pickle
import sys
import threading
from pathlib import Path

import pytest

from tests.unit.musubi.logs import FOLDER
from training.child import run_command
from training.errors import StageError
from training.memory import MemoryUse, Shape
from training.stage import StageInterruptedError
from training.suggestion import CacheAgain, FewerFrames, LowerResolution

OOM = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.43 GiB."


def failed(tmp_path: Path, code: str, memory: MemoryUse | None = None) -> StageError:
    with pytest.raises(StageError) as caught:
        run(tmp_path, code, memory)
    return caught.value


def run(tmp_path: Path, code: str, memory: MemoryUse | None = None) -> None:
    run_command(
        (sys.executable, "-c", code),
        environment={},
        log=tmp_path / "logs" / "train.log",
        stopping=threading.Event(),
        on_event=lambda event: None,
        memory=memory,
    )


def test_the_trainers_own_log_tells_the_stages_error(tmp_path: Path) -> None:
    log = FOLDER / "33_i2v_task_t2v_cache.stderr.txt"
    code = f"import sys; sys.stderr.write(open({str(log)!r}).read()); sys.exit(1)"

    error = failed(tmp_path, code)

    assert "caches were made for text to video" in error.cause
    assert error.suggestion == CacheAgain()
    assert pickle.loads(pickle.dumps(error)).suggestion == CacheAgain()


def test_what_is_suggested_depends_on_what_the_run_uses(tmp_path: Path) -> None:
    code = f"raise type('OutOfMemoryError', (RuntimeError,), {{}})({OOM!r})"
    short = MemoryUse(shapes=(Shape((1280, 720), 9),))

    assert failed(tmp_path, code).suggestion == FewerFrames(max_frames=13)
    assert failed(tmp_path, code, short).suggestion == LowerResolution(resolution="480p")


def test_only_the_log_of_this_attempt_counts(tmp_path: Path) -> None:
    failed(tmp_path, "raise KeyError('clip')")

    error = failed(tmp_path, "import sys; print('all is lost'); sys.exit(3)")

    assert "exit code 3" in error.cause
    assert "all is lost" in error.cause
    assert error.suggestion is None


def test_a_killed_program_is_started_again_rather_than_failed(tmp_path: Path) -> None:
    with pytest.raises(StageInterruptedError, match="signal 9"):
        run(tmp_path, "import os; os.kill(os.getpid(), 9)")
