"""Records that are stored twice: whatever happens to one, the other one makes it whole."""

import logging
import random
from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict

from storage.local.store import FolderStore
from tests.campaigns.damages import JSON
from training.records import AlteredRecordError, both, copy_of, opened, read_record, sealed

KEY = "guilds/1/runs/a/spec.json"


class Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = "annika, größer"
    steps: int = 5


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    store = FolderStore(tmp_path)
    for key, data in both(KEY, Record()).items():
        store.write(key, data)
    return store


@pytest.mark.parametrize("key", [KEY, copy_of(KEY)])
@pytest.mark.parametrize("damage", JSON)
def test_either_one_is_enough_whatever_happens_to_the_other(
    store: FolderStore, damage: str, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    JSON[damage](store.path(key), random.Random(1))

    found = [read_record(store, KEY, Record) for _ in range(2)]

    assert found == [Record(), Record()]
    # Said once, because the record is written again.
    assert ["written again" in line for line in caplog.messages] == [True] * (key == KEY)


def test_every_flipped_bit_of_a_record_is_noticed() -> None:
    whole = sealed(Record().model_dump_json(indent=2).encode())

    unnoticed = list[int]()
    for bit in range(8 * len(whole)):
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        try:
            found = Record.model_validate_json(opened(bytes(data)))
        except ValueError:
            continue
        if found != Record():
            unnoticed.append(bit)

    assert unnoticed == []


def test_a_record_is_still_json_and_one_of_an_older_version_is_read() -> None:
    plain = b'{"name": "b", "steps": 1}'

    assert b'"crc32":"' in sealed(plain)
    assert opened(sealed(plain)) == plain
    assert opened(plain) == plain
    with pytest.raises(AlteredRecordError):
        opened(sealed(plain).replace(b"1,", b"2,"))


def test_without_both_the_record_is_missing_or_damaged(store: FolderStore) -> None:
    store.write(copy_of(KEY), b"{}x")
    store.write(KEY, b"")
    with pytest.raises(ValueError, match="JSON"):
        read_record(store, KEY, Record)

    for key in (KEY, copy_of(KEY)):
        store.delete(key)
    with pytest.raises(FileNotFoundError):
        read_record(store, KEY, Record)
