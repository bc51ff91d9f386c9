"""One Hub on loopback for each test."""

from collections.abc import Iterator

import pytest

from tests.wire.hub.hub_server import HubState, hub_server


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubState]:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("HF_TOKEN_PATH", "/nonexistent")
    with hub_server() as state:
        yield state
