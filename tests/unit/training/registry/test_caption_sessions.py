"""Links to caption pages are kept until they expire, and a bounded number for each person."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from storage.local.store import FolderStore
from training import store_keys
from training.registry.caption_sessions import (
    MOST_OPEN,
    CaptionsEndedError,
    CaptionSession,
    CaptionSessions,
)

NOW = datetime.now(UTC)


def session(name: str, *, by: str = "7", hours: float = 24, age: float = 0) -> CaptionSession:
    return CaptionSession(
        id=name,
        guild="g",
        by=by,
        channel=None,
        dataset="annika",
        created_at=NOW - timedelta(hours=age),
        expires_at=NOW + timedelta(hours=hours),
    )


def test_expired_and_damaged_records_are_deleted_when_the_next_link_is_made(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    sessions = CaptionSessions(store)
    sessions.create(session("old", hours=-1))
    store.write(f"{store_keys.caption_pages('g')}/damaged", b"{")

    sessions.create(session("new"))

    assert store.names(store_keys.caption_pages("g")) == ["new"]
    for gone in ("old", "damaged"):
        with pytest.raises(CaptionsEndedError):
            sessions.find("g", gone)


def test_a_persons_oldest_links_end_if_there_are_many(tmp_path: Path) -> None:
    sessions = CaptionSessions(FolderStore(tmp_path))
    sessions.create(session("of-ben", by="8", age=100))
    for number in range(MOST_OPEN + 1):
        sessions.create(session(f"s{number}", age=MOST_OPEN - number))

    with pytest.raises(CaptionsEndedError):
        sessions.find("g", "s0")
    assert sessions.find("g", "s1").id == "s1"
    assert sessions.find("g", "of-ben").by == "8"
