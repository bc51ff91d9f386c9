"""A store in a container of Modal: what its mounts show, and when."""

import io
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
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
from tests.wire.modal.faults import connection_lost, refused
from tests.wire.modal.loopback.api import Loopback
from tests.wire.modal.mounted_store import AREAS, mounted_store
from training.ports import Store, StoreChanges
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
    return VolumeStore(volumes, leases, mounts=mounts, scratch=tmp_path)


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


def test_a_container_removes_many_files_with_one_commit(
    shared: Loopback, mounted: Store, outside: VolumeStore
) -> None:
    files = [f"guilds/1/datasets/caches/{number}.safetensors" for number in range(5)]
    others = {**dict.fromkeys(files, b"latents"), "guilds/1/datasets/state/part": b"moments"}
    outside.change(StoreChanges(written=others))
    mounted.refresh(files[0])
    late = "guilds/1/datasets/state/late"
    outside.write(late, b"what the mount does not show")

    with counted(shared) as asked:
        mounted.change(StoreChanges(deleted=[*files, "guilds/1/datasets/state"]))

    assert asked["ask"]["VolumeCommit"] == 1
    assert asked["ask"]["VolumeRemoveFile"] == 1  # of what the mount did not show
    assert list(outside.walk("guilds/1/datasets")) == []


def test_a_container_sweeps_what_killed_writers_left_with_one_commit(
    shared: Loopback, mounted: Store, outside: VolumeStore
) -> None:
    volume = modal.Volume.from_name("store-datasets")
    with volume.batch_upload() as batch:
        for number in range(3):
            batch.put_file(io.BytesIO(b"half"), f"/.tmp/{number}/new/part")
    mounted.refresh("guilds/1/datasets")

    with counted(shared) as asked:
        freed = mounted.sweep(datetime.now(UTC) + timedelta(minutes=1))

    assert freed == 12
    assert asked["ask"]["VolumeCommit"] == 1
    assert not asked["ask"]["VolumeRemoveFile"]
    assert [entry.path for entry in volume.listdir("/.tmp")] == []


def test_a_record_that_a_commit_was_refused_for_is_not_brought_back_later(
    mounted: Store, outside: VolumeStore, shared: Loopback
) -> None:
    events = "guilds/1/runs/a/events/train-main-1.jsonl"
    mounted.append(events, b"started\n")
    made = mounted.staging_path(KEY)
    made.parent.mkdir(parents=True)
    made.write_bytes(b"weights")

    with refused(shared, "VolumeCommit"), pytest.raises(ConnectionError):
        mounted.change(StoreChanges(kept=[KEY], appended={events: b"saved\n"}))
    mounted.append(events, b"stopped\n")
    mounted.keep(KEY)  # commits whatever the mount holds

    assert outside.read(events) == b"started\nstopped\n"


def test_what_does_not_fit_on_a_full_volume_leaves_room_for_what_does(
    mounted: Store, outside: VolumeStore, shared: Loopback
) -> None:
    events = "guilds/1/runs/a/events/train-main-1.jsonl"
    mounted.append(events, b"started\n")
    made = mounted.staging_path(KEY)
    made.parent.mkdir(parents=True)
    made.write_bytes(b"x" * 10_000)
    shared.set_volume_limit("store-runs", 5_000)

    with pytest.raises(OSError, match="full"):
        mounted.change(StoreChanges(kept=[KEY], appended={events: b"saved\n"}))
    mounted.append(events, b"failed\n")
    shared.set_volume_limit("store-runs", None)

    assert outside.read(events) == b"started\nfailed\n"
    assert not outside.exists(KEY)
    assert not mounted.path(KEY).exists()


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


def test_a_file_is_read_no_newer_than_others_were_listed(
    outside: VolumeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    events, read = "guilds/1/runs/a/events", outside.read
    outside.append(f"{events}/advance-1.jsonl", b"started\n")

    def read_later(key: str) -> bytes:
        return read(key) + b"ended\n"

    monkeypatch.setattr(outside, "read", read_later)

    assert outside.read_all(events) == {"advance-1.jsonl": b"started\n"}


def test_transfers_that_are_refused_for_a_while_are_made_later(
    shared: Loopback, outside: VolumeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "large"
    source.mkdir()
    large = bytes(5 << 20)  # larger than what an RPC carries
    (source / "a.bin").write_bytes(large)
    asked = Counter[str]()

    def refuse(method: str) -> int | None:
        asked[method] += 1
        return 503 if asked[method] <= 6 else None  # more than the client tries

    monkeypatch.setattr(shared.settings, "refuse_transfer", refuse)

    outside.put_tree("guilds/1/datasets/large", source)

    assert outside.read("guilds/1/datasets/large/a.bin") == large
    assert asked == {"PUT": 7, "GET": 7}


def test_a_run_that_was_removed_is_not_remembered(outside: VolumeStore) -> None:
    spec = "guilds/1/runs/a/spec.json"
    outside.write(spec, b"{}")
    outside.read(spec)

    outside.delete("guilds/1/runs/a")

    with pytest.raises(FileNotFoundError):
        outside.read(spec)


def test_a_listing_whose_connection_was_lost_is_asked_for_again(
    shared: Loopback, outside: VolumeStore
) -> None:
    outside.write(KEY, b"here")

    with connection_lost(shared, "VolumeListFiles") as lost:
        found = outside.exists(KEY)

    assert len(lost) == 1
    assert found
