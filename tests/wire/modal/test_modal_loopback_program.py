"""The control plane as a program, and what it leaves behind."""

import os
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import modal
import psutil
import pytest

from tests.wire.modal.lookup import deployed
from tests.wire.modal.loopback import trees
from tests.wire.modal.loopback.api import PATIENCE_SECONDS, CommandError, Loopback
from tests.wire.modal.loopback.client_env import client_env, process_env
from tests.wire.modal.loopback.starter import starter

APP = """
import subprocess
import modal

app = modal.App("kept", image=modal.Image.debian_slim(python_version="3.11"))
volume = modal.Volume.from_name("data", create_if_missing=True)
values = modal.Dict.from_name("values", create_if_missing=True)

@app.function(timeout=600, min_containers=1)
def hold():
    child = subprocess.Popen(["sleep", "600"], start_new_session=True)
    values["child"] = child.pid
    child.wait()

@app.function()
def double(number):
    return 2 * number
"""


@pytest.fixture
def app(tmp_path: Path) -> Path:
    path = tmp_path / "kept_app.py"
    path.write_text(APP)
    return path


@contextmanager
def program(state: Path, *options: str) -> Generator[tuple[subprocess.Popen[str], str]]:
    """Run the program; the client of this process speaks to it."""
    command = [sys.executable, "-m", "tests.wire.modal.loopback", str(state), *options]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process,
        pytest.MonkeyPatch.context() as environment,
    ):
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        for name, value in client_env(url).items():
            environment.setenv(name, value)
        try:
            yield process, url
        finally:
            modal.Client.from_env().close()
            process.terminate()
            process.wait()
            # A control plane that was killed cannot tidy up; the next one on its state would.
            trees.remove(Path((state / "short-folder").read_text()))


def deploy(app: Path, url: str) -> None:
    command = [sys.executable, "-m", "modal", "deploy", str(app)]
    subprocess.run(command, env=process_env(url), check=True, capture_output=True)


def running_child() -> psutil.Process:
    """Start the function that holds a process of its own and return that process."""
    deployed("kept", "hold").spawn()
    values = modal.Dict.from_name("values", create_if_missing=True)
    while "child" not in values:
        pass
    return psutil.Process(values["child"])


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_survives_the_end_of_the_program(tmp_path: Path, app: Path, end: int) -> None:
    with program(tmp_path / "state") as (process, url):
        deploy(app, url)
        child = running_child()
        family = psutil.Process(process.pid).children(recursive=True)
        assert child in family

        process.send_signal(end)
        assert process.wait(20) == (0 if end == signal.SIGTERM else -end)

        _, alive = psutil.wait_procs(family, timeout=PATIENCE_SECONDS)
        assert [its for its in alive if its.status() != psutil.STATUS_ZOMBIE] == []


def test_deployed_and_stored_things_survive_a_restart(tmp_path: Path, app: Path) -> None:
    with program(tmp_path / "state") as (process, url):
        deploy(app, url)
        modal.Dict.from_name("values", create_if_missing=True)["kept"] = [1, 2]
        with modal.Volume.from_name("data", create_if_missing=True).batch_upload() as batch:
            batch.put_file(app, "app.py")
        process.send_signal(signal.SIGKILL)
        process.wait()

    with program(tmp_path / "state"):
        assert deployed("kept", "double").remote(4) == 8
        assert modal.Dict.from_name("values")["kept"] == [1, 2]
        assert b"".join(modal.Volume.from_name("data").read_file("app.py")) == app.read_bytes()


def test_settings_are_options_of_the_program(tmp_path: Path, app: Path) -> None:
    with program(tmp_path / "state", "--cron-minute-seconds", "0.05") as (_, url):
        app.write_text(
            "import modal\napp = modal.App('clock')\n"
            "ticks = modal.Queue.from_name('ticks', create_if_missing=True)\n"
            "@app.function(schedule=modal.Cron('* * * * *'))\ndef tick(): ticks.put(1)\n"
        )
        deploy(app, url)

        assert modal.Queue.from_name("ticks", create_if_missing=True).get() == 1


def test_a_loopback_in_this_process_leaves_no_process(tmp_path: Path, app: Path) -> None:
    starter()  # one for this process, and it ends with it
    this = psutil.Process(os.getpid())
    before = this.children(recursive=True)  # other tests may have left helpers of their own
    with Loopback(tmp_path / "state") as loopback:
        loopback.deploy(app)
        loopback.wait_for(
            lambda: any(its.is_ready for its in loopback.plane.scheduler.living_all())
        )
        family = [its for its in this.children(recursive=True) if its not in before]

    assert family
    _gone, alive = psutil.wait_procs(family, timeout=PATIENCE_SECONDS)
    assert not [its for its in alive if its.status() != psutil.STATUS_ZOMBIE]


def test_an_rpc_that_is_not_served_fails_the_test(tmp_path: Path) -> None:
    with Loopback(tmp_path / "state") as loopback:
        with pytest.raises(CommandError, match="does not serve TokenInfoGet"):
            loopback.run("token", "info")

        with pytest.raises(AssertionError, match="not served: TokenInfoGet"):
            loopback.check()
