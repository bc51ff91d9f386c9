"""What is kept in real Dicts, over the time that Modal keeps it."""

from pathlib import Path

import modal
import pytest

from storage.modal.claims import ModalClaims
from storage.modal.leases import ModalLeases
from storage.modal.shared_dict import ModalDict
from tests.wire.modal.loopback.api import Loopback

DAY = 24 * 60 * 60


@pytest.fixture
def entries(loopback: Loopback) -> ModalDict:
    return ModalDict(modal.Dict.from_name("entries", create_if_missing=True), patience_seconds=1)


def test_every_operation_answers_as_the_adapters_expect(entries: ModalDict) -> None:
    assert entries.get("key") is None
    assert entries.pop("key") is None
    assert not entries.contains("key")

    assert entries.put("key", {"number": 1}, skip_if_exists=True)
    assert not entries.put("key", {"number": 2}, skip_if_exists=True)
    entries.put("other", "text")

    assert entries.contains("key")
    assert sorted(entries.items()) == [("key", {"number": 1}), ("other", "text")]
    assert entries.pop("key") == {"number": 1}
    assert entries.get("key") is None


def test_a_lease_untouched_for_a_week_is_free(entries: ModalDict, loopback: Loopback) -> None:
    leases, claims = ModalLeases(entries), ModalClaims(entries)
    old = leases.acquire("run", holder="a", attempt=3)
    assert old is not None
    assert claims.claim("1")

    loopback.advance(8 * DAY)

    assert not leases.renew(old)
    assert leases.acquire("run", holder="b") is not None
    assert claims.claim("1")


def test_entries_read_every_few_days_stay(entries: ModalDict, loopback: Loopback) -> None:
    leases, claims = ModalLeases(entries, seconds=60 * DAY), ModalClaims(entries)
    held = leases.acquire("run", holder="a")
    assert held is not None
    assert claims.claim("1")

    for _ in range(3):
        loopback.advance(5 * DAY)
        assert leases.acquire("run", holder="b") is None
        assert not claims.claim("1")


def test_a_missing_service_raises_a_connection_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Loopback(tmp_path) as loopback:
        for name, value in loopback.client_env().items():
            monkeypatch.setenv(name, value)
        entries = ModalDict(
            modal.Dict.from_name("entries", create_if_missing=True), patience_seconds=0
        )
        entries.put("key", 1)

    with pytest.raises(ConnectionError, match="Modal did not answer"):
        entries.get("key")
    modal.Client.from_env().close()
