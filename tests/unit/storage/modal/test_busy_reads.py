"""How long a record is asked for while Modal's storage is busy."""

from pathlib import Path
from unittest.mock import create_autospec

import modal
import pytest

from storage.modal import store
from storage.modal.leases import ModalLeases
from storage.modal.mounts import Mounts
from storage.modal.store import VolumeStore
from storage.modal.volume_api import Volume
from tests.memory_dict import MemoryDict
from training.ports import BusyError


def test_the_bot_soon_stops_asking_because_people_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_ANSWER_SECONDS", 0.0)
    volume = create_autospec(Volume)
    busy = modal.exception.ServiceError("Service temporarily unavailable: SlowDown")
    volume.read_file.side_effect = busy
    of_the_bot = Mounts({"runs": tmp_path}, read_only=frozenset({"runs"}))
    stored = VolumeStore(
        {"runs": volume}, ModalLeases(MemoryDict()), mounts=of_the_bot, scratch=tmp_path
    )

    with pytest.raises(BusyError, match=r"does not transfer guilds/1/runs/a/spec\.json yet"):
        stored.read("guilds/1/runs/a/spec.json")

    assert volume.read_file.call_count == 1
