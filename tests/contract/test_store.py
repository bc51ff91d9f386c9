"""What every `Store` promises: a folder, Modal's Volumes from outside, and mounted."""

import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import cast

import modal
import pytest

from storage.local.store import FolderStore
from storage.modal.leases import ModalLeases
from storage.modal.mounts import Mounts
from storage.modal.shared_dict import ModalDict
from storage.modal.store import VolumeStore
from storage.modal.volume_api import Volume
from tests.at_once import at_once
from tests.wire.modal.loopback.api import Loopback
from tests.wire.modal.loopback.settings import Settings
from tests.wire.modal.mounted_store import AREAS, mounted_store
from training.ports import Store
from training.store_keys import Area

RUNS = "guilds/1/runs"


@pytest.fixture(scope="module")
def modal_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loopback]:
    """A control plane whose containers wait for the next test."""
    state = tmp_path_factory.mktemp("modal")
    with (
        Loopback(state, Settings(idle_seconds=60)) as running,
        pytest.MonkeyPatch.context() as environment,
    ):
        for name, value in running.client_env().items():
            environment.setenv(name, value)
        yield running
        modal.Client.from_env().close()
        running.check()


@pytest.fixture(scope="module")
def in_a_container(modal_plane: Loopback) -> Callable[[], Store]:
    """Return what makes an empty store in a container that has the Volumes mounted."""
    return mounted_store(modal_plane)


def from_outside(scratch: Path) -> Store:
    """Return a store in Volumes of its own, as the bot has it: without a mount."""
    name = uuid.uuid4().hex
    volumes: dict[Area, Volume] = {
        area: cast("Volume", modal.Volume.from_name(f"{name}-{area}", create_if_missing=True))
        for area in AREAS
    }
    leases = ModalLeases(ModalDict(modal.Dict.from_name(name, create_if_missing=True)))
    mounts = Mounts({area: Path("/nonexistent") for area in AREAS})
    return VolumeStore(volumes, leases, mounts=mounts, is_mounted=False, scratch=scratch)


@pytest.fixture(params=["folder", "volume", "mounted"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "folder":
        return FolderStore(tmp_path / "store")
    if request.param == "volume":
        request.getfixturevalue("modal_plane")
        return from_outside(tmp_path / "scratch")
    return request.getfixturevalue("in_a_container")()


def test_what_was_written_is_read_back(store: Store) -> None:
    store.write(f"{RUNS}/a/b.json", b"one")
    store.write(f"{RUNS}/a/b.json", b"two")

    assert store.read(f"{RUNS}/a/b.json") == b"two"
    assert store.exists(f"{RUNS}/a/b.json")
    assert store.exists(f"{RUNS}/a")


def test_reading_nothing_is_an_error(store: Store) -> None:
    with pytest.raises(FileNotFoundError):
        store.read(f"{RUNS}/nothing")


def test_of_many_creators_exactly_one_wins(store: Store) -> None:
    won: list[int] = []

    def create(number: int) -> None:
        if store.create(f"{RUNS}/spec.json", str(number).encode()):
            won.append(number)

    at_once([partial(create, number) for number in range(8)])

    assert len(won) == 1
    assert store.read(f"{RUNS}/spec.json") == str(won[0]).encode()


def test_appended_lines_stand_in_order(store: Store) -> None:
    store.append(f"{RUNS}/events/w-1.jsonl", b"1\n")
    store.append(f"{RUNS}/events/w-1.jsonl", b"2\n")

    assert store.read(f"{RUNS}/events/w-1.jsonl") == b"1\n2\n"


def test_half_a_line_of_a_crash_is_dropped_by_the_next_append(store: Store) -> None:
    store.write(f"{RUNS}/events/w-1.jsonl", b"1\nhal")

    store.append(f"{RUNS}/events/w-1.jsonl", b"2\n")

    assert store.read(f"{RUNS}/events/w-1.jsonl") == b"1\n2\n"


def test_names_are_those_directly_below(store: Store) -> None:
    for key in (f"{RUNS}/b/spec.json", f"{RUNS}/a/spec.json", f"{RUNS}/c"):
        store.write(key, b"")

    assert store.names(RUNS) == ["a", "b", "c"]
    assert store.names(f"{RUNS}/nothing") == []


def test_a_stored_file_can_be_read_from_any_offset(store: Store) -> None:
    store.write(f"{RUNS}/big", bytes(range(256)) * 1000)

    with store.fetch(f"{RUNS}/big").open("rb") as file:
        file.seek(1000)
        assert file.read(3) == bytes([232, 233, 234])


def test_a_tree_is_stored_whole_and_only_once(store: Store, tmp_path: Path) -> None:
    incoming = [store.staging_path(f"incoming-{number}") for number in (1, 2)]
    for number, folder in enumerate(incoming, start=1):
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text(str(number))

    first, second = (store.put_tree(f"{RUNS}/datasets/annika/1", folder) for folder in incoming)

    assert (first, second) == (True, False)
    assert store.read(f"{RUNS}/datasets/annika/1/manifest.json") == b"1"


def test_all_files_directly_below_are_read_at_once(store: Store) -> None:
    store.append(f"{RUNS}/events/train-1.jsonl", b"1\n")
    store.append(f"{RUNS}/events/train-1.jsonl", b"2\n")
    store.write(f"{RUNS}/events/request-1.jsonl", b"3\n")
    store.write(f"{RUNS}/events/deeper/x", b"4\n")

    assert store.read_all(f"{RUNS}/events") == {
        "train-1.jsonl": b"1\n2\n",
        "request-1.jsonl": b"3\n",
    }
    assert store.read_all(f"{RUNS}/nothing") == {}


def test_walking_finds_every_file_with_its_size(store: Store) -> None:
    store.write(f"{RUNS}/a/spec.json", b"12")
    store.write(f"{RUNS}/a/events/x", b"123")
    store.write(f"{RUNS}/b", b"1")

    found = {file.key: file.size_bytes for file in store.walk(f"{RUNS}/a")}

    assert found == {f"{RUNS}/a/spec.json": 2, f"{RUNS}/a/events/x": 3}
    assert not list(store.walk(f"{RUNS}/nothing"))
    age = datetime.now(UTC) - next(store.walk(f"{RUNS}/a")).written_at
    assert abs(age.total_seconds()) < 60


def test_sweeping_spares_what_is_stored(store: Store) -> None:
    store.write(f"{RUNS}/a", b"1")

    store.sweep(datetime.now(UTC) + timedelta(days=1))

    assert store.read(f"{RUNS}/a") == b"1"


def test_fetching_nothing_is_an_error(store: Store) -> None:
    store.write(f"{RUNS}/folder/file", b"")

    for key in (f"{RUNS}/nothing", f"{RUNS}/folder"):
        with pytest.raises(FileNotFoundError):
            store.fetch(key)


def test_what_is_made_in_a_workshop_is_kept(store: Store) -> None:
    made = store.staging_path(f"{RUNS}/a/adapter.safetensors")
    made.parent.mkdir(parents=True)
    made.write_bytes(b"first")
    store.keep(f"{RUNS}/a/adapter.safetensors")
    made.write_bytes(b"second")

    store.keep(f"{RUNS}/a/adapter.safetensors", f"{RUNS}/a/never-made")

    assert store.fetch(f"{RUNS}/a/adapter.safetensors").read_bytes() == b"second"
    assert store.names(f"{RUNS}/a") == ["adapter.safetensors"]


def test_a_folder_made_in_a_workshop_is_kept_whole(store: Store) -> None:
    state = store.staging_path(f"{RUNS}/a/one-state")
    (state / "deep").mkdir(parents=True)
    (state / "deep" / "optimizer.bin").write_bytes(b"moments")

    store.keep(f"{RUNS}/a/one-state")

    assert store.read(f"{RUNS}/a/one-state/deep/optimizer.bin") == b"moments"


def test_what_is_deleted_is_gone_from_its_workshop_too(store: Store) -> None:
    state = store.staging_path(f"{RUNS}/a/one-state")
    state.mkdir(parents=True)
    (state / "optimizer.bin").write_bytes(b"moments")
    store.keep(f"{RUNS}/a/one-state")

    store.delete(f"{RUNS}/a/one-state")
    store.keep(f"{RUNS}/a/one-state")

    assert not state.exists()
    assert not store.exists(f"{RUNS}/a/one-state")


def test_deleting_takes_all_below_and_nothing_there_is_fine(store: Store) -> None:
    store.write(f"{RUNS}/a/spec.json", b"")
    store.write(f"{RUNS}/a/events/x", b"")

    store.delete(f"{RUNS}/a")
    store.delete(f"{RUNS}/a")

    assert not store.exists(f"{RUNS}/a")
    assert store.names(RUNS) == []


@pytest.mark.parametrize("key", ["../x", "/etc/passwd", "a/../../x", ""])
def test_a_key_cannot_leave_the_store(store: Store, key: str) -> None:
    with pytest.raises(ValueError, match="not a key"):
        store.write(key, b"")
