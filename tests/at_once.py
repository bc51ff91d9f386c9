"""Runs several calls at the same moment."""

import threading
from collections.abc import Callable, Sequence


def at_once(acts: Sequence[Callable[[], object]]) -> None:
    """Run all calls at once, each in its own thread, and wait for them."""
    barrier = threading.Barrier(len(acts))

    def wait_and_do(act: Callable[[], object]) -> None:
        barrier.wait()
        act()

    threads = [threading.Thread(target=wait_and_do, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
