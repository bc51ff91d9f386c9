"""Stop signals, and ending a program at once together with its children."""

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
    """Block SIGTERM and SIGINT; call this before any thread or process starts.

    Threads and children inherit the mask. A signal to the group then does not kill the data
    loaders, and reaches the waiting thread even while the main thread is inside a long kernel.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)


def on_stop_signal(stop: Callable[[], int]) -> None:
    """Call `stop` on a separate thread when a stop signal arrives, and exit with its code.

    Requires `hold_signals`.
    """

    def wait() -> None:
        number = signal.sigwait(_STOP_SIGNALS)
        logger.info("Received %s: saving the last finished step", signal.Signals(number).name)
        try:
            code = stop()
        except BaseException:  # noqa: BLE001 - it must stop, whatever fails
            traceback.print_exc()
            code = 1
        exit_now(code)

    threading.Thread(target=wait, name="stop-signal", daemon=True).start()


def exit_now(code: int) -> None:
    """Exit at once without waiting for other threads."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def bind_children() -> None:
    """Make the kernel kill every child forked from now on when this process ends."""
    libc = ctypes.CDLL(None)
    os.register_at_fork(after_in_child=lambda: libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL))


def end_children() -> None:
    """Kill every child; exiting would wait for data loader workers, which ignore SIGTERM."""
    # torch would report the end of a worker as a crash.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for child in multiprocessing.active_children():
        child.kill()
