"""Lease files do not pile up, and deleting one lets nobody hold a lease twice."""

import threading
import time
from pathlib import Path

from storage.local.leases import FileLeases
from training.files.locks import open_alone

DAY = 24 * 60 * 60


def test_only_leases_that_nobody_held_for_a_week_are_deleted(tmp_path: Path) -> None:
    leases = FileLeases(tmp_path)
    grant = leases.acquire("old", holder="a", attempt=3)
    assert grant is not None
    (file,) = tmp_path.iterdir()

    FileLeases(tmp_path, clock=lambda: time.time() + 6 * DAY).remove_old()
    kept = list(tmp_path.iterdir())
    FileLeases(tmp_path, clock=lambda: time.time() + 8 * DAY).remove_old()

    assert (kept, list(tmp_path.iterdir())) == ([file], [])
    assert not leases.renew(grant)
    assert leases.acquire("old", holder="b") is not None


def test_who_waited_for_a_deleted_file_uses_the_new_one(tmp_path: Path) -> None:
    leases, waits = FileLeases(tmp_path), threading.Event()
    first = leases.acquire("a", holder="first")
    assert first is not None
    leases.release(first)
    (file,) = tmp_path.iterdir()
    taken = list[object]()
    with open_alone(file):

        def take() -> None:
            waits.set()
            taken.append(leases.acquire("a", holder="second"))

        waiter = threading.Thread(target=take)
        waiter.start()
        waits.wait()
        file.unlink()
    waiter.join()

    assert taken[0] is not None
    assert leases.acquire("a", holder="third") is None
