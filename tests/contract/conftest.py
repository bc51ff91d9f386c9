"""Fixtures of the suites: Modal's real Dicts and functions, on loopback."""

import uuid
from collections.abc import Callable, Iterator

import modal
import pytest

from storage.modal.shared_dict import ModalDict
from tests.wire.modal.loopback.api import Loopback


@pytest.fixture(scope="module")
def loopback(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loopback]:
    """Run one control plane per module, because the client of a process has one server."""
    state = tmp_path_factory.mktemp("modal")
    with Loopback(state) as running, pytest.MonkeyPatch.context() as env:
        for name, value in running.client_env().items():
            env.setenv(name, value)
        yield running
        modal.Client.from_env().close()
        running.check()


@pytest.fixture
def new_dict(loopback: Loopback) -> Callable[[], ModalDict]:
    """Return a function that makes an empty Dict."""

    def make() -> ModalDict:
        name = f"test-{uuid.uuid4().hex}"
        return ModalDict(modal.Dict.from_name(name, create_if_missing=True))

    return make
