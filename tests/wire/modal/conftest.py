"""One control plane for each test, and the client of this process led to it."""

from collections.abc import Iterator
from pathlib import Path

import modal
import pytest

from tests.wire.modal.loopback.api import Loopback


@pytest.fixture
def loopback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    with Loopback(tmp_path / "modal") as running:
        for name, value in running.client_env().items():
            monkeypatch.setenv(name, value)
        yield running
        modal.Client.from_env().close()  # one for the process: the next test has another server
        running.check()
