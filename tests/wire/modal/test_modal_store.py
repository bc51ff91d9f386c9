"""A store in a container of Modal: what its mounts show, and when."""

from collections.abc import Callable
from pathlib import Path
from typing import cast

import modal
import pytest

from storage.modal.leases import ModalLeases
from storage.modal.mounts import Mounts
from storage.modal.shared_dict import ModalDict
from storage.modal.store import VolumeStore
from storage.modal.volume_api import Volume
from tests.wire.modal.counting import BOT, counted
from tests.wire.modal.loopback.api import Loopback
from tests.wire.modal.mounted_store import AREAS, mounted_store
from training.ports import Store
from training.store_keys import Area

KEY = "guilds/1/runs/a/adapter.safetensors"


@pytest.fixture(scope="module")
def new_store(shared: Loopback) -> Callable[[], Store]:
    """Return what makes an empty store in a container that goes on for the whole module."""
    shared.settings.idle_seconds = 60.0
    return mounted_store(shared)


@pytest.fixture
def mounted(new_store: Callable[[], Store]) -> Store:
    return new_store()


@pytest.fixture
def outside(mounted: Store, tmp_path: Path) -> VolumeStore:
    """The same Volumes, as the bot has them."""
    volumes: dict[Area, Volume] = {
        area: cast("Volume", modal.Volume.from_name(f"store-{area}")) for area in AREAS
    }
    leases = ModalLeases(ModalDict(modal.Dict.from_name("store-leases", create_if_missing=True)))
    mounts = Mounts({area: Path("/nonexistent") for area in AREAS})
    return VolumeStore(volumes, leases, mounts=mounts, is_mounted=False, scratch=tmp_path)


def test_a_mount_shows_what_others_stored_once_it_is_refreshed(
    mounted: Store, outside: VolumeStore
) -> None:
    outside.write(KEY, b"from outside")
    before = mounted.path(KEY).exists()

    mounted.refresh(KEY)

    assert not before
    assert mounted.path(KEY).read_bytes() == b"from outside"


def test_a_file_that_the_mount_does_not_show_as_it_is_stored_is_fetched(
    mounted: Store, outside: VolumeStore
) -> None:
    outside.write(KEY, b"first")
    mounted.refresh(KEY)
    outside.write(KEY, b"the second")

    found = mounted.fetch(KEY)

    assert found.read_bytes() == b"the second"
    assert mounted.path(KEY).read_bytes() == b"first"


def test_what_is_kept_in_a_container_is_seen_from_outside(
    mounted: Store, outside: VolumeStore
) -> None:
    made = mounted.staging_path(KEY)
    made.parent.mkdir(parents=True)
    made.write_bytes(b"weights")

    mounted.keep(KEY)

    assert outside.fetch(KEY).read_bytes() == b"weights"
    assert mounted.path(KEY).read_bytes() == b"weights"


def test_what_is_stored_after_a_container_removed_it_stays(
    mounted: Store, outside: VolumeStore
) -> None:
    outside.write(KEY, b"first")
    mounted.refresh(KEY)
    mounted.delete(KEY)
    outside.write(KEY, b"the second")

    mounted.refresh(KEY)

    assert outside.read(KEY) == b"the second"


def test_what_was_read_once_and_never_changes_is_not_read_again(
    shared: Loopback, outside: VolumeStore
) -> None:
    spec, events = "guilds/1/runs/a/spec.json", "guilds/1/runs/a/events"
    outside.write(spec, b"{}")
    for number in range(4):
        outside.append(f"{events}/advance-{number}.jsonl", b"1\n")
    outside.read(spec)
    outside.read_all(events)
    outside.append(f"{events}/advance-3.jsonl", b"2\n")

    with counted(shared) as asked:
        found = outside.read(spec), outside.read_all(events)

    assert found[0] == b"{}"
    assert found[1]["advance-3.jsonl"] == b"1\n2\n"
    assert dict(asked[BOT]) == {"VolumeListFiles": 1}


def test_a_run_that_was_removed_is_not_remembered(outside: VolumeStore) -> None:
    spec = "guilds/1/runs/a/spec.json"
    outside.write(spec, b"{}")
    outside.read(spec)

    outside.delete("guilds/1/runs/a")

    with pytest.raises(FileNotFoundError):
        outside.read(spec)
