"""Upload sessions in a folder and in Modal's Volumes outlive the process that received them."""

import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
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
from tests.wire.modal.counting import counted
from tests.wire.modal.loopback.api import Loopback
from tests.wire.modal.mounted_store import AREAS
from training.dataset.limits import Limits
from training.errors import NotFoundError, RequestError
from training.ports import Store
from training.registry.uploads.files import FileFacts, IncomingFile
from training.registry.uploads.session import (
    DatasetTarget,
    UploadEndedError,
    UploadSession,
    new_session_id,
)
from training.registry.uploads.sessions import MOST_OPEN, TooLargeError, UploadSessions
from training.store_keys import Area

DATA = bytes(range(256)) * 40
NewStore = Callable[[], Store]


@pytest.fixture(params=["folder", "volume"])
def new_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[NewStore]:
    """Return a function that opens the same store as another process would."""
    if request.param == "folder":
        yield lambda: FolderStore(tmp_path / "store")
        return
    request.getfixturevalue("loopback")
    name = uuid.uuid4().hex
    yield lambda: on_modal(name, tmp_path / uuid.uuid4().hex)


def on_modal(name: str, scratch: Path) -> Store:
    """Return a store in Volumes whose names begin with `name`, as the bot has it."""
    volumes: dict[Area, Volume] = {
        area: cast("Volume", modal.Volume.from_name(f"{name}-{area}", create_if_missing=True))
        for area in AREAS
    }
    leases = ModalLeases(ModalDict(modal.Dict.from_name(name, create_if_missing=True)))
    mounts = Mounts({area: Path("/nonexistent") for area in AREAS})
    return VolumeStore(volumes, leases, mounts=mounts, scratch=scratch)


def session(
    name: str = "annika", *, by: str = "7", hours: float = 24, guild: str = "1"
) -> UploadSession:
    now = datetime.now(UTC)
    return UploadSession(
        id=new_session_id(),
        guild=guild,
        by=by,
        channel="5",
        target=DatasetTarget(name=name),
        created_at=now,
        expires_at=now + timedelta(hours=hours),
    )


def created(sessions: UploadSessions, one: UploadSession | None = None) -> UploadSession:
    one = one or session()
    sessions.create(one)
    return one


def send(file: IncomingFile, data: bytes) -> None:
    writer = file.writer(file.received_bytes)
    writer.write([data])
    writer.close()


def facts(path: str = "annika.zip", size: int = len(DATA), modified: int = 0) -> FileFacts:
    return FileFacts(path=path, size_bytes=size, modified_ms=modified)


def test_a_saved_upload_continues_in_another_process(new_store: NewStore, tmp_path: Path) -> None:
    first = UploadSessions(new_store())
    one = created(first)
    file = first.add(one, facts())
    for size in (1000, 2000):
        send(file, DATA[file.received_bytes :][:size])
        first.save()
    first.update(one, is_bound=True)

    second = UploadSessions(new_store())
    found, state = second.find("1", one.id)
    (again,) = second.files(found)
    assert again.received_bytes == 3000
    send(again, DATA[3000:])
    again.copy_to(tmp_path / "whole")

    assert found == one
    assert state.is_bound
    assert (tmp_path / "whole").read_bytes() == DATA


def test_a_session_of_another_guild_or_id_does_not_exist(new_store: NewStore) -> None:
    sessions = UploadSessions(new_store())
    one = created(sessions)

    for guild, name in (("2", one.id), ("1", "0" * 16)):
        with pytest.raises(UploadEndedError, match="no longer works"):
            sessions.find(guild, name)


def test_a_session_ends_when_it_expires_or_is_deleted(new_store: NewStore) -> None:
    sessions = UploadSessions(new_store())
    old, gone = created(sessions, session("old", hours=-1)), created(sessions)
    sessions.add(gone, facts())

    sessions.delete(gone)

    for one in (old, gone):
        with pytest.raises(UploadEndedError):
            sessions.find("1", one.id)
    assert sessions.sessions("1") == []
    assert new_store().names("guilds/1/uploads") == []


def test_a_second_link_for_the_same_dataset_replaces_the_first(new_store: NewStore) -> None:
    sessions = UploadSessions(new_store())
    first = created(sessions)
    others = [created(sessions, session("berta")), created(sessions, session(by="8"))]

    second = created(sessions)

    found = {one.id for one, _ in sessions.sessions("1")}
    assert found == {second.id, *(other.id for other in others)}
    assert first.id not in found


def test_a_person_has_a_limited_number_of_links(new_store: NewStore) -> None:
    sessions = UploadSessions(new_store())
    for number in range(MOST_OPEN):
        created(sessions, session(f"set-{number}"))

    with pytest.raises(RequestError, match=f"{MOST_OPEN} upload links"):
        created(sessions, session("one-more"))
    created(sessions, session("one-more", by="8"))


def test_a_file_added_again_continues_and_a_changed_one_replaces_it(
    new_store: NewStore,
) -> None:
    sessions = UploadSessions(new_store())
    one = created(sessions)
    send(sessions.add(one, facts()), DATA[:100])

    assert sessions.add(one, facts()).received_bytes == 100
    changed = sessions.add(one, facts(modified=1))

    assert sessions.files(one) == [changed]
    assert changed.received_bytes == 0


def test_files_are_deleted_and_the_session_stays(new_store: NewStore) -> None:
    sessions = UploadSessions(new_store())
    one = created(sessions)
    send(sessions.add(one, facts()), DATA)
    sessions.save()

    sessions.end(one, status="done")

    again = UploadSessions(new_store())
    found, state = again.find("1", one.id)
    assert state.status == "done"
    assert again.files(found) == []
    with pytest.raises(NotFoundError):
        again.file(found, facts().id)


def test_limits_are_those_of_one_zip(new_store: NewStore) -> None:
    sessions = UploadSessions(new_store(), replace(Limits(), archive_bytes=20_000, files=2))
    one = created(sessions)
    sessions.add(one, facts("a.zip", 15_000))

    with pytest.raises(TooLargeError, match=r"With b\.zip"):
        sessions.add(one, facts("b.zip", 6_000))
    sessions.add(one, facts("b.zip", 4_000))
    with pytest.raises(TooLargeError, match="more than 2 files"):
        sessions.add(one, facts("c.zip", 1))


@pytest.mark.parametrize(
    "path", ["../a.png", "/etc/passwd", "C:\\a.png", "a\0.png", "", "a/../../b", "x" * 1001]
)
def test_paths_that_point_elsewhere_are_refused(tmp_path: Path, path: str) -> None:
    sessions = UploadSessions(FolderStore(tmp_path))
    one = created(sessions)

    with pytest.raises(RequestError, match="cannot be the name of a file"):
        sessions.add(one, facts(path))


@pytest.mark.parametrize(
    "path",
    [
        *("set.zip.001", "set.z01", "set.part2.rar", "set.7z.002"),
        *("set.z100", "set.zip.1000", "set.7z.1000", "set.zx02", "set.rar.02"),
    ],
)
def test_parts_of_a_split_archive_are_refused_at_once(tmp_path: Path, path: str) -> None:
    sessions = UploadSessions(FolderStore(tmp_path))
    one = created(sessions)

    with pytest.raises(RequestError, match="one part of a split archive"):
        sessions.add(one, facts(path))


@pytest.mark.parametrize("path", ["photo.2024", "set.zip.1", "walk.001.mp4", "set.part2.zip"])
def test_a_number_at_the_end_of_a_name_is_no_part(tmp_path: Path, path: str) -> None:
    sessions = UploadSessions(FolderStore(tmp_path))

    assert sessions.add(created(sessions), facts(path)).facts.path == path


def test_an_upload_takes_four_writes_from_its_link_to_its_end(
    loopback: Loopback, tmp_path: Path
) -> None:
    sessions = UploadSessions(on_modal(uuid.uuid4().hex, tmp_path))

    with counted(loopback) as found:
        one = created(sessions)
        for number in range(20):
            send(sessions.add(one, facts(f"{number}.mp4")), DATA)
        sessions.complete(one)
        sessions.end(one, is_announced=True)

    assert found["bot"]["VolumePutFiles"] == 3
    assert found["bot"]["VolumeRemoveFile"] == 1  # of all received files


def test_a_save_stores_all_changes_with_one_commit(loopback: Loopback, tmp_path: Path) -> None:
    sessions = UploadSessions(on_modal(uuid.uuid4().hex, tmp_path))
    several = [created(sessions, session(f"set-{number}")) for number in range(3)]
    files = [sessions.add(one, facts(f"{n}.mp4")) for one in several for n in range(20)]

    with counted(loopback) as found:
        for _ in range(2):
            for file in files:
                send(file, DATA[file.received_bytes :][:500])
            sessions.save()
        sessions.save()

    writes = [name for name in found["bot"].elements() if name.startswith("VolumePutFiles")]
    assert len(writes) == 2
