"""The index of finished runs in trouble: everything works without it, only more slowly."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from storage.local.run_index import SqliteRunIndex
from tests.at_once import at_once
from training.ports import EndedRun, RunFilter


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "index.sqlite"


@pytest.fixture
def index(path: Path) -> SqliteRunIndex:
    found = SqliteRunIndex(path, patience_seconds=0.1)
    add(found, "a", b"summary of a")
    return found


def add(index: SqliteRunIndex, run: str, summary: bytes, created_at: str = "2026") -> None:
    index.put("1", [EndedRun(run, created_at, summary)])


def get(index: SqliteRunIndex, run: str) -> bytes | None:
    return dict(index.newest("1", None, lambda name: name == run)).get(run)


def garble(path: Path) -> None:
    path.write_bytes(b"garbage" * (path.stat().st_size // 7))


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def zero(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


@pytest.mark.parametrize("harm", [garble, cut, zero])
@pytest.mark.parametrize("finder", ["get", "put"])
def test_a_damaged_index_is_rebuilt_by_the_process_that_notices(
    index: SqliteRunIndex, path: Path, harm: Callable[[Path], None], finder: str
) -> None:
    harm(path)

    if finder == "get":
        assert get(index, "a") is None
    add(index, "a", b"again")

    assert get(index, "a") == b"again"
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("pragma integrity_check").fetchone() == ("ok",)
    assert list(path.parent.iterdir()) == [path]


def test_a_summary_with_a_flipped_bit_is_ignored(index: SqliteRunIndex, path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content.replace(b"summary of a", b"summary of c"))

    assert index.newest("1", None, lambda _name: True) == [("a", None)]


def test_a_locked_index_is_neither_waited_for_nor_replaced(
    index: SqliteRunIndex, path: Path
) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.execute("begin exclusive")

        assert get(index, "a") is None
        for write in (partial(add, index, "b", b"summary of b"), index.clear):
            with pytest.raises(OSError, match="locked"):
                write()
        other.rollback()

    assert get(index, "a") == b"summary of a"


def test_many_processes_survive_a_damaged_index(index: SqliteRunIndex, path: Path) -> None:
    garble(path)
    patient = SqliteRunIndex(path, patience_seconds=60)

    at_once([partial(add, patient, run, run.encode()) for run in "abcdefgh"])

    add(patient, "z", b"z")
    assert get(patient, "z") == b"z"


def test_the_newest_wanted_runs_of_a_guild_come_first(index: SqliteRunIndex) -> None:
    for run, created_at in (("b", "2028"), ("c", "2027"), ("d", "2029")):
        add(index, run, run.encode(), created_at)
    index.put("2", [EndedRun("e", "2030", b"of another guild")])

    found = index.newest("1", 2, lambda name: name != "d")

    assert found == [("b", b"b"), ("c", b"c")]
    assert index.names("1") == {"a", "b", "c", "d"}


def test_names_are_filtered_by_what_is_known_of_the_runs(index: SqliteRunIndex) -> None:
    facts = {"model": "m", "state": "failed"}
    index.put("1", [EndedRun(run, "2026", b"", **facts, requested_by=run) for run in "bc"])

    assert index.names("1", RunFilter(model="m")) == {"b", "c"}
    assert index.names("1", RunFilter(model="m", state="failed", requested_by="c")) == {"c"}
    assert index.names("1", RunFilter(state="succeeded")) == set()


def test_an_index_of_an_earlier_version_is_empty_until_it_is_written(path: Path) -> None:
    with closing(sqlite3.connect(path)) as old:
        old.execute("create table ended (guild text, run text, summary blob)")
    index = SqliteRunIndex(path)

    assert index.names("1") == set()
    add(index, "a", b"a")
    assert get(index, "a") == b"a"
