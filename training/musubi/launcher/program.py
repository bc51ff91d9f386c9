"""Runs one of musubi-tuner's scripts with hooks; stops it and its child processes on a signal."""

import ctypes
import logging
import multiprocessing
import os
import runpy
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from training.musubi.launcher.hooks import FAST_OPTION, OFF, HookError
from training.musubi.progress import ProgressWriter
from training.musubi.requests import TrainerRequests

logger = logging.getLogger(__name__)

STATE_SECONDS_VARIABLE = "LORABOT_STATE_SECONDS"
DEFAULT_STATE_SECONDS = 15 * 60.0

_CACHES = ("wan_cache_latents.py", "wan_cache_text_encoder_outputs.py")
_TRAIN = "wan_train_network.py"
BENCH = "bench-gpu"
_USAGE = 2
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_PR_SET_PDEATHSIG = 1


class Hooks(Protocol):
    """The launcher's additions to one kind of script."""

    def install(self) -> None:
        """Install every hook, or raise `HookError`."""
        ...

    def stop(self) -> int:
        """Save the state needed to resume, and return the exit code; called from another thread."""
        ...


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run the script that the first argument names, with the other arguments; return the exit code.

    With the arguments `bench-gpu MUSUBI …`, measure the GPU instead.
    """
    if arguments[:1] == [BENCH]:
        return _measure(Path(arguments[1]), arguments[2:])
    script = Path(arguments[0]).resolve() if arguments else Path()
    if script.name not in (*_CACHES, _TRAIN) or not script.is_file():
        names = ",".join((*_CACHES, _TRAIN))
        sys.stderr.write(f"usage: launcher MUSUBI/src/musubi_tuner/{{{names}}} ...\n")
        return _USAGE
    _hold_signals()
    _bind_children()
    logging.basicConfig(level=logging.INFO)
    # The checkout's folders come first, so that no other installed musubi-tuner is imported.
    sys.path[:1] = [str(script.parent), str(script.parents[1])]
    fast, given = _fast(arguments[1:])
    if fast != OFF:
        _let_segments_grow()
    sys.argv = [str(script), *given]
    try:
        hooks = _hooks(script.name, environment, fast)
        _on_stop_signal(hooks.stop)
        hooks.install()
    except HookError as error:
        sys.stderr.write(f"HookError: {error}\n")
        return 1
    try:
        runpy.run_path(str(script), run_name="__main__")
    finally:
        _end_children()
    return 0


def _measure(checkout: Path, arguments: Sequence[str]) -> int:
    sys.path[:1] = [str(checkout / "src/musubi_tuner"), str(checkout / "src")]
    _let_segments_grow()
    from training.musubi.launcher.fast.bench import main as measure  # noqa: PLC0415

    return measure(arguments)


def _let_segments_grow() -> None:
    """Make torch use the GPU's memory without gaps; call this before torch is imported.

    With torch's usual segments, even a plan that left 9 GiB free ran out of memory.
    """
    os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")


def _fast(arguments: Sequence[str]) -> tuple[str, list[str]]:
    """Return the value of `--fast` (the launcher's own option) and the other arguments."""
    given = list(arguments)
    if FAST_OPTION not in given:
        return OFF, given
    at = given.index(FAST_OPTION)
    return given[at + 1], given[:at] + given[at + 2 :]


def _hooks(script: str, environment: Mapping[str, str], fast: str) -> Hooks:
    progress = ProgressWriter.from_environment(environment)
    # Import the training hooks only here: they import torch, which would delay the cache scripts.
    if script == _TRAIN:
        from training.musubi.launcher.train_hooks import TrainHooks  # noqa: PLC0415

        text = environment.get(STATE_SECONDS_VARIABLE)
        state_seconds = float(text) if text else DEFAULT_STATE_SECONDS
        return TrainHooks(progress, state_seconds, fast, TrainerRequests(environment))
    from training.musubi.launcher.cache_hooks import CacheHooks  # noqa: PLC0415

    return CacheHooks(progress)


def _hold_signals() -> None:
    """Block SIGTERM and SIGINT, so that only the thread that waits for them gets them.

    Call this before any thread or process starts, so that all of them inherit the block. A
    signal to the process group then does not kill the data loader workers, and is handled at once,
    even while the main thread waits for the GPU.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)


def _on_stop_signal(stop: Callable[[], int]) -> None:
    """Start a thread that waits for a stop signal, calls `stop`, and ends the process."""

    def wait() -> None:
        number = signal.sigwait(_STOP_SIGNALS)
        logger.info("Received %s: saving the last finished step", signal.Signals(number).name)
        try:
            code = stop()
        except BaseException:  # noqa: BLE001 - the process must stop, whatever fails
            traceback.print_exc()
            code = 1
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # unlike sys.exit, this ends the process although other threads run

    threading.Thread(target=wait, name="stop-signal", daemon=True).start()


def _bind_children() -> None:
    """Make sure that every child forked from now on is killed when this process ends."""
    libc, parent = ctypes.CDLL(None), os.getpid()

    def note_parent() -> None:
        nonlocal parent
        parent = os.getpid()

    def bind() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # the parent ended before the call
            os._exit(1)

    os.register_at_fork(before=note_parent, after_in_child=bind)


def _end_children() -> None:
    """Kill all children: a normal exit would wait for data loader workers, which ignore SIGTERM."""
    # First remove torch's signal handler, which would report the killed workers as crashed.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for child in multiprocessing.active_children():
        child.kill()
