"""What every `Store` promises: a folder, and Modal's Volumes through the API and mounted."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
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
from training.ports import FileChangedError, Store, StoreChanges
from training.registry.trash import Trash
from training.store_keys import Area

RUNS = "guilds/1/runs"


@pytest.fixture(scope="module")
def modal_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loopback]:
    """A control plane whose containers stay for the next test."""
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
    """Return a function that makes an empty store in a container with mounted Volumes."""
    return mounted_store(modal_plane)


def from_outside(scratch: Path) -> Store:
    """Return a store in new Volumes, without a mount, as the bot has it."""
    name = uuid.uuid4().hex
    volumes: dict[Area, Volume] = {
        area: cast("Volume", modal.Volume.from_name(f"{name}-{area}", create_if_missing=True))
        for area in AREAS
    }
    leases = ModalLeases(ModalDict(modal.Dict.from_name(name, create_if_missing=True)))
    mounts = Mounts({area: Path("/nonexistent") for area in AREAS})
    return VolumeStore(volumes, leases, mounts=mounts, scratch=scratch)


@pytest.fixture(params=["folder", "volume", "mounted"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "folder":
        return FolderStore(tmp_path / "store")
    if request.param == "volume":
        request.getfixturevalue("modal_plane")
        return from_outside(tmp_path / "scratch")
    return request.getfixturevalue("in_a_container")()


def test_written_bytes_are_read_back(store: Store) -> None:
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


def test_a_partial_line_of_a_crash_is_dropped_by_the_next_append(store: Store) -> None:
    store.write(f"{RUNS}/events/w-1.jsonl", b"1\nhal")

    store.append(f"{RUNS}/events/w-1.jsonl", b"2\n")

    assert store.read(f"{RUNS}/events/w-1.jsonl") == b"1\n2\n"


def test_names_are_those_directly_below_a_key(store: Store) -> None:
    for key in (f"{RUNS}/b/spec.json", f"{RUNS}/a/spec.json", f"{RUNS}/c"):
        store.write(key, b"")

    assert store.names(RUNS) == ["a", "b", "c"]
    assert store.names(f"{RUNS}/nothing") == []


def test_a_stored_file_can_be_read_from_any_offset(store: Store) -> None:
    store.write(f"{RUNS}/big", bytes(range(256)) * 1000)

    with store.fetch(f"{RUNS}/big").open("rb") as file:
        file.seek(1000)
        assert file.read(3) == bytes([232, 233, 234])


def test_parts_of_a_file_are_read_as_it_was_at_first(store: Store) -> None:
    store.write(f"{RUNS}/big", bytes(range(256)) * 1000)

    reader = store.reader(f"{RUNS}/big")
    parts = [reader.read(start, 5) for start in (1000, 255_999, 256_000)]

    assert reader.size_bytes == 256_000
    assert parts == [bytes([232, 233, 234, 235, 236]), b"\xff", b""]
    assert store.reader(f"{RUNS}/big").state == reader.state
    for key in (f"{RUNS}/nothing", RUNS):
        with pytest.raises(FileNotFoundError):
            store.reader(key)


def test_a_reader_never_mixes_two_versions_of_a_file(store: Store) -> None:
    store.write(f"{RUNS}/file", b"first!")
    before = store.reader(f"{RUNS}/file")
    begun = before.read(0, 3)

    store.write(f"{RUNS}/file", b"second!!")
    after = store.reader(f"{RUNS}/file")
    with suppress(FileChangedError):
        begun += before.read(3, 5)

    assert begun in (b"fir", b"first!")
    assert after.state != before.state
    assert after.read(0, 8) == b"second!!"


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


def test_a_staged_file_is_kept(store: Store) -> None:
    made = store.staging_path(f"{RUNS}/a/adapter.safetensors")
    made.parent.mkdir(parents=True)
    made.write_bytes(b"first")
    store.keep(f"{RUNS}/a/adapter.safetensors")
    made.write_bytes(b"second")

    store.keep(f"{RUNS}/a/adapter.safetensors", f"{RUNS}/a/never-made")

    assert store.fetch(f"{RUNS}/a/adapter.safetensors").read_bytes() == b"second"
    assert store.names(f"{RUNS}/a") == ["adapter.safetensors"]


def test_a_staged_folder_is_kept_whole(store: Store) -> None:
    state = store.staging_path(f"{RUNS}/a/one-state")
    (state / "deep").mkdir(parents=True)
    (state / "deep" / "optimizer.bin").write_bytes(b"moments")

    store.keep(f"{RUNS}/a/one-state")

    assert store.read(f"{RUNS}/a/one-state/deep/optimizer.bin") == b"moments"


def test_changes_of_every_kind_are_made_at_once(store: Store) -> None:
    folder, events = f"{RUNS}/a", f"{RUNS}/a/events/train-main-1.jsonl"
    store.append(events, b"1\n")
    store.write(f"{folder}/old", b"")
    made = store.staging_path(f"{folder}/adapter.safetensors")
    made.parent.mkdir(parents=True, exist_ok=True)
    made.write_bytes(b"weights")

    store.change(
        StoreChanges(
            kept=[f"{folder}/adapter.safetensors", f"{folder}/never-made"],
            written={f"{folder}/receipt.json": b"{}", "models/rehearsal/file": b"in another area"},
            appended={events: b"2\n"},
            deleted=[f"{folder}/old", f"{folder}/never-there"],
        )
    )
    store.append(events, b"3\n")

    assert store.names(folder) == ["adapter.safetensors", "events", "receipt.json"]
    assert store.read(f"{folder}/adapter.safetensors") == b"weights"
    assert store.read(events) == b"1\n2\n3\n"
    assert store.read("models/rehearsal/file") == b"in another area"


def test_what_is_created_brings_others_unless_it_is_there(store: Store) -> None:
    spec, marker = f"{RUNS}/a/spec.json", "open/1~a"

    won = store.create(spec, b"first", {marker: b""})
    store.delete(marker)
    lost = store.create(spec, b"second", {marker: b""})

    assert (won, lost) == (True, False)
    assert store.read(spec) == b"first"
    assert not store.exists(marker)


def test_of_many_who_create_at_once_the_first_brings_its_others(store: Store) -> None:
    spec, report = f"{RUNS}/a/spec.json", f"{RUNS}/a/inputs/report.json"

    def create(number: int) -> None:
        name = str(number).encode()
        store.create(spec, name, {report: name})

    at_once([partial(create, number) for number in range(8)])

    assert store.read(spec) == store.read(report)
    assert store.names(f"{RUNS}/a") == ["inputs", "spec.json"]


def test_what_is_uploaded_is_at_its_path_after_a_refresh(store: Store) -> None:
    key = "guilds/1/datasets/latents.safetensors"
    made = store.staging_path(key)
    made.parent.mkdir(parents=True, exist_ok=True)
    made.write_bytes(b"latents")

    store.upload(key)
    store.refresh(key)

    assert store.read(key) == b"latents"


def test_deleting_removes_staged_files_too(store: Store) -> None:
    state = store.staging_path(f"{RUNS}/a/one-state")
    state.mkdir(parents=True)
    (state / "optimizer.bin").write_bytes(b"moments")
    store.keep(f"{RUNS}/a/one-state")

    store.delete(f"{RUNS}/a/one-state")
    store.keep(f"{RUNS}/a/one-state")

    assert not state.exists()
    assert not store.exists(f"{RUNS}/a/one-state")


def test_deleting_removes_everything_below_and_ignores_missing_keys(store: Store) -> None:
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


def test_a_removal_and_what_is_taken_out_of_it_are_seen_by_another_process(store: Store) -> None:
    trash, other = Trash(store), Trash(store)
    whole = trash.put("1", "datasets", ["annika@2", "annika@10", "annika@1"], by="7")
    run = trash.put("1", "runs", ["mine"], by="8")

    listed = other.removals("1", "datasets")
    other.take_out(listed[0], ["annika@2"])
    some = trash.items("1", "datasets")
    rest = trash.removals("1", "datasets")[0]
    trash.take_out(rest, rest.items)

    assert [one.items for one in listed] == [("annika@1", "annika@2", "annika@10")]
    assert listed[0].id == whole.id
    assert some == {"annika@1", "annika@10"}
    assert other.items("1", "datasets") == trash.items("2", "runs") == frozenset()
    assert other.items("1", "runs") == {"mine"}
    assert other.removed_by(run) == "8"
