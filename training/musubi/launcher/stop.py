"""How a program is asked to stop, and how it ends at once with all that belongs to it."""

import ctypes
import logging
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable

logger = logging.getLogger(__name__)

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_PR_SET_PDEATHSIG = 1


def hold_signals() -> None:
    """Keep SIGTERM and SIGINT from interrupting; call it before any thread or process starts.

    All of them inherit this. So a signal to the whole group does not end the workers that load
    data, and reaches the one thread that waits for it while the main one is inside a long kernel.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)


def on_stop_signal(stop: Callable[[], int]) -> None:
    """Call `stop` on a thread of its own when the program is asked to stop, and exit with its code.

    Needs `hold_signals`.
    """

    def wait() -> None:
        number = signal.sigwait(_STOP_SIGNALS)
        logger.info("Received %s: saving the last finished step", signal.Signals(number).name)
        try:
            code = stop()
        except BaseException:  # noqa: BLE001 - told to stop, it must not go on, whatever is wrong
            traceback.print_exc()
            code = 1
        exit_now(code)

    threading.Thread(target=wait, name="stop-signal", daemon=True).start()


def exit_now(code: int) -> None:
    """End this process, and with it its children, without waiting for its other threads."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def bind_children() -> None:
    """Let every process that is forked from now on be killed when this one ends."""
    libc = ctypes.CDLL(None)
    os.register_at_fork(after_in_child=lambda: libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL))


def end_children() -> None:
    """End every child; data loaders' workers, deaf to SIGTERM, would be waited for at the exit."""
    # torch would take the end of a worker for an accident.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for child in multiprocessing.active_children():
        child.kill()
