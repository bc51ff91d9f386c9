"""The log of a stage's failed program becomes cause, fix and suggestion."""

import pickle
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.training.musubi.failures.logs import FOLDER
from training.errors import StageError
from training.estimates.gpu_memory import MemoryUse, TrainingShape
from training.pipeline.child_process import Listener, run_command
from training.pipeline.log_tail import end_of
from training.pipeline.stage_writes import StageInterruptedError
from training.remedies import CacheAgain, FewerFrames, LowerResolution, ResumeRun

OOM = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.43 GiB."


def failed(tmp_path: Path, code: str, memory: MemoryUse | None = None) -> StageError:
    with pytest.raises(StageError) as caught:
        run(tmp_path, code, memory)
    return caught.value


def show_nothing(_log: Path) -> None:
    pass


def run(
    tmp_path: Path,
    code: str,
    memory: MemoryUse | None = None,
    show_log: Callable[[Path], None] = show_nothing,
) -> None:
    run_command(
        (sys.executable, "-c", code),
        environment={},
        log=tmp_path / "logs" / "train.log",
        stopping=threading.Event(),
        listener=Listener(lambda event: None, show_log),
        memory=memory,
    )


def test_the_output_of_a_command_is_shown_while_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.pipeline.child_process.LOG_SECONDS", 0.1)
    shown, go_on = list[bytes](), tmp_path / "go-on"
    code = (
        "import pathlib, time; print('step 1', flush=True)\n"
        f"while not pathlib.Path({str(go_on)!r}).exists(): time.sleep(0.05)"
    )

    def show(log: Path) -> None:
        shown.append(end_of(log))
        if shown[-1]:
            go_on.touch()

    run(tmp_path, code, show_log=show)

    assert shown[-1] == b"step 1\n"


def test_the_trainers_own_log_tells_the_stages_error(tmp_path: Path) -> None:
    log = FOLDER / "33_i2v_task_t2v_cache.stderr.txt"
    code = f"import sys; sys.stderr.write(open({str(log)!r}).read()); sys.exit(1)"

    error = failed(tmp_path, code)

    assert "caches are for text to video" in error.cause
    assert error.remedy == CacheAgain()
    assert pickle.loads(pickle.dumps(error)).remedy == CacheAgain()


def test_the_suggestion_depends_on_the_runs_settings(tmp_path: Path) -> None:
    code = f"raise type('OutOfMemoryError', (RuntimeError,), {{}})({OOM!r})"
    short = MemoryUse(shapes=(TrainingShape((1280, 720), 9),))

    assert failed(tmp_path, code).remedy == FewerFrames(max_frames=13)
    assert failed(tmp_path, code, short).remedy == LowerResolution(resolution="480p")


def test_only_the_log_of_this_attempt_counts(tmp_path: Path) -> None:
    failed(tmp_path, "raise KeyError('clip')")

    error = failed(tmp_path, "import sys; print('all is lost'); sys.exit(3)")

    assert "exit code 3" in error.cause
    assert "all is lost" in error.cause
    assert error.remedy == ResumeRun()


def test_a_killed_program_interrupts_the_stage(tmp_path: Path) -> None:
    with pytest.raises(StageInterruptedError, match="signal 9"):
        run(tmp_path, "import os; os.kill(os.getpid(), 9)")


@pytest.mark.parametrize(
    "message",
    [
        "CUDA error: uncorrectable ECC error encountered",
        "CUDA error: an illegal memory access was encountered",
        "huggingface_hub.errors.HfHubHTTPError: 429 Client Error: Too Many Requests",
    ],
)
def test_a_passing_fault_interrupts_the_stage(tmp_path: Path, message: str) -> None:
    with pytest.raises(StageInterruptedError):
        run(tmp_path, f"raise RuntimeError({message!r})")
