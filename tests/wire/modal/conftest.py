"""Control planes for tests, with this process's client connected to them."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import modal
import pytest

from tests.wire.modal import files_app, work_app
from tests.wire.modal.files_app import Files
from tests.wire.modal.installation import Installation, install
from tests.wire.modal.loopback.api import Loopback
from tests.wire.modal.loopback.client_env import PYTHON_WARNINGS
from tests.wire.modal.sandbox_thread import SandboxThread, sandbox_thread
from tests.wire.modal.stages import APP, ROOT, Stages


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
    """A control plane for one test."""
    with _in_use(tmp_path / "modal") as running:
        yield running


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loopback]:
    """One control plane for the tests of a module that do not disturb each other."""
    with _in_use(tmp_path_factory.mktemp("shared") / "modal") as running:
        yield running


@pytest.fixture(scope="module")
def deployed(shared: Loopback, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """A deployment for the runs of a module, which reuse each other's weights and caches."""
    return install(shared, tmp_path_factory.mktemp("installation"), "lora")


@pytest.fixture
def installation(deployed: Installation) -> Iterator[Installation]:
    """The module's deployment, idle before and after each test."""
    yield deployed
    deployed.hurry()
    deployed.settle()


@pytest.fixture(scope="module")
def work_deployed(shared: Loopback, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("app") / "work_app.py"
    path.write_text(work_app.APP)
    shared.deploy(path)


@pytest.fixture
def plane(shared: Loopback, work_deployed: None) -> Iterator[Loopback]:
    """The shared control plane with `work_app` deployed; its settings are restored."""
    before = dict(vars(shared.settings))
    yield shared
    for name, value in before.items():
        setattr(shared.settings, name, value)


@pytest.fixture(scope="module")
def files_deployed(shared: Loopback, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("app") / "files_app.py"
    path.write_text(files_app.APP)
    shared.settings.idle_seconds = 60
    shared.deploy(path)


@pytest.fixture
def files(shared: Loopback, files_deployed: None) -> Iterator[Files]:
    """The app `files_app` with empty volumes and without containers."""
    for path in modal.Volume.from_name("data").listdir("/"):
        modal.Volume.from_name("data").remove_file(path.path, recursive=True)
    yield Files(shared)
    shared.set_volume_limit("data", None)
    shared.settings.background_commit_seconds = None
    for container in shared.containers():
        shared.kill(container)
    shared.wait_for(lambda: not shared.plane.scheduler.living_all())


@pytest.fixture(scope="module")
def discord(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxThread]:
    with sandbox_thread(tmp_path_factory.mktemp("sandbox") / "home") as running:
        yield running


@pytest.fixture(scope="module")
def operator(
    discord: SandboxThread, shared: Loopback, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Loopback]:
    """The environment of an operator whose Discord is the sandbox; nothing is deployed yet.

    The sandbox is there before the loopback and ends after it: its containers connect to it.
    """
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("LORABOT_DISCORD_URL", discord.server.base_url)
        environment.setenv("LORABOT_DISCORD_TOKEN", discord.server.bot_token)
        environment.setenv("PYTHONWARNINGS", PYTHON_WARNINGS)
        environment.setenv("LORABOT_HOME", str(tmp_path_factory.mktemp("home")))
        yield shared


@pytest.fixture(scope="module")
def stages_app(shared: Loopback) -> Loopback:
    """Deployed once for all tests of a module; their calls are of different guilds."""
    shared.deploy(APP, cwd=ROOT)
    return shared


@pytest.fixture
def stages(stages_app: Loopback) -> Iterator[Stages]:
    stages = Stages(stages_app)
    yield stages
    stages.end()
