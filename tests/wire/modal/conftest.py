"""Control planes for tests, and the client of this process led to them."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import modal
import pytest

from tests.wire.modal.installation import Installation, install
from tests.wire.modal.loopback.api import Loopback


@contextmanager
def _in_use(state: Path) -> Generator[Loopback]:
    with Loopback(state) as running, pytest.MonkeyPatch.context() as environment:
        for name, value in running.client_env().items():
            environment.setenv(name, value)
        yield running
        modal.Client.from_env().close()  # one for the process: the next test has another server
        running.check()


@pytest.fixture
def loopback(tmp_path: Path) -> Iterator[Loopback]:
    """A control plane of the test's own."""
    with _in_use(tmp_path / "modal") as running:
        yield running


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loopback]:
    """One control plane for tests of a module that do not get into each other's way."""
    with _in_use(tmp_path_factory.mktemp("shared") / "modal") as running:
        yield running


@pytest.fixture(scope="module")
def deployed(shared: Loopback, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """A deployment for the runs of a module, which reuse each other's weights and caches."""
    return install(shared, tmp_path_factory.mktemp("installation"), "lora")


@pytest.fixture
def installation(deployed: Installation) -> Iterator[Installation]:
    """The module's deployment, with nothing at work in it before and after a test."""
    yield deployed
    deployed.hurry()
    deployed.settle()
