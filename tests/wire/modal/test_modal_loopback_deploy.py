"""The results of a deploy: definitions, images, variables, versions."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import modal
import pytest

from tests.wire.modal.lookup import deployed
from tests.wire.modal.loopback.api import CommandError, Loopback

APP = """
import os
import sys

import modal

VERSION = 1
base = modal.Image.debian_slim(python_version="3.11")
base = base.uv_pip_install("numpy==2.1.0", uv_version="0.9.0")
image = base.run_commands("echo built").env({"FROM_IMAGE": "a b", "OVER": "image"})
app = modal.App("shop", image=image.add_local_python_source("helper_module"))
volume = modal.Volume.from_name("stock", create_if_missing=True)
hub = modal.Secret.from_name("hub", required_keys=["HF_TOKEN"])

@app.function(secrets=[hub], env={"FROM_ENV": "yes"}, cpu=2)
def environment():
    import helper_module
    return dict(os.environ), sys.path, os.getcwd(), helper_module.__file__

@app.function()
def imports(name):
    __import__(name)

@app.function(gpu=["H100", "A100-80GB"], timeout=3600, retries=3, memory=4096, cpu=4,
              volumes={"/mnt/stock": volume}, single_use_containers=True, max_containers=4)
def train():
    return os.environ["MODAL_TASK_ID"]

@app.function(gpu="H100", timeout=3600, memory=4096, single_use_containers=True)
def train_chosen():
    return os.environ["MODAL_TASK_ID"]

@app.function(schedule=modal.Cron("*/5 * * * *"), nonpreemptible=True, timeout=600)
def tick():
    return VERSION

@app.function(min_containers=1)
def warm():
    return VERSION, os.getpid()
"""


@pytest.fixture(scope="module")
def path(shared: Loopback, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("app")
    (folder / "helper_module.py").touch()
    (folder / "shop_app.py").write_text(APP)
    shared.create_secret("hub", {"HF_TOKEN": "hf_x", "OVER": "secret"})
    shared.deploy(folder / "shop_app.py", {"PYTHONPATH": str(folder)})
    return folder / "shop_app.py"


@pytest.fixture
def redeployed(shared: Loopback, path: Path) -> Iterator[Path]:
    """Deploy version 2 and, afterwards, version 1."""
    path.write_text(APP.replace("VERSION = 1", "VERSION = 2").replace("def imports", "def other"))
    shared.deploy(path, {"PYTHONPATH": str(path.parent)})
    yield path
    path.write_text(APP)
    shared.deploy(path, {"PYTHONPATH": str(path.parent)})


def test_a_definition_is_read_back_as_it_was_deployed(shared: Loopback, path: Path) -> None:
    train, tick = deployed("shop", "train").info(), deployed("shop", "tick").info()

    assert train.gpus == [("H100", 1), ("A100-80GB", 1)]
    assert (train.timeout, train.max_retries, train.memory_mib, train.cpu) == (3600, 3, 4096, 4)
    assert train.single_use_containers
    assert list(train.volumes) == ["/mnt/stock"]
    assert (tick.gpus, tick.nonpreemptible, tick.timeout) == ([], True, 600)
    assert tick.schedule == "Cron('*/5 * * * *', UTC)"


def test_a_variant_has_its_own_settings_and_containers(shared: Loopback, path: Path) -> None:
    function = deployed("shop", "train_chosen")
    variant = function.with_options(gpu="L40S", timeout=60, max_containers=1)
    before = len(shared.gpu_log)

    container_id = variant.remote()

    definition = shared.plane.scheduler.containers[container_id].definition
    assert definition.timeout_secs == 60
    assert definition.resources.memory_mb == 4096
    assert [hold.gpu_type for hold in shared.gpu_log[before:]] == ["L40S"]


@pytest.mark.parametrize("options", [{"gpu": "L40S"}, {"memory": 8192}, {"cpu": 2.0}])
def test_a_function_with_a_list_of_gpus_takes_no_resources_by_option(
    shared: Loopback, path: Path, options: dict[str, Any]
) -> None:
    variant = deployed("shop", "train").with_options(**options)

    with pytest.raises(modal.exception.UnimplementedError, match="a list of GPUs"):
        variant.spawn()

    assert deployed("shop", "train").with_options(timeout=60).remote()
    shared.plane.router.unimplemented.clear()


def test_the_steps_of_an_image_are_recorded(shared: Loopback, path: Path) -> None:
    commands = [line for layer in shared.image_steps("train") for line in layer.commands]

    assert commands[0].startswith("FROM python:3.11")
    assert any("numpy==2.1.0" in line for line in commands)
    assert commands.index("RUN echo built") < commands.index("ENV FROM_IMAGE='a b'")


def test_a_container_has_the_variables_and_the_sources_that_it_was_given(
    shared: Loopback, path: Path
) -> None:
    env, python_path, folder, module = deployed("shop", "environment").remote()

    assert env["FROM_IMAGE"] == "a b"
    assert env["FROM_ENV"] == "yes"
    assert (env["HF_TOKEN"], env["OVER"]) == ("hf_x", "secret")
    assert env["OMP_NUM_THREADS"] == "2"
    assert env["MODAL_IS_REMOTE"] == "1"
    assert "MODAL_TOKEN_ID" not in env
    root = Path(env["LORABOT_MOUNT_ROOT"]) / "root"
    assert (folder, env["HOME"]) == (str(root), str(root))
    assert module == str(root / "helper_module.py")
    assert str(Path.cwd()) not in python_path


def test_a_container_does_not_see_what_was_not_mounted(shared: Loopback, path: Path) -> None:
    imports = deployed("shop", "imports")
    imports.remote("aiohttp")

    for module in ("training", "bot", "tests.adapters"):
        with pytest.raises(ModuleNotFoundError):
            imports.remote(module)


def test_a_warm_container_is_there_before_the_first_call(shared: Loopback, path: Path) -> None:
    shared.wait_for(lambda: any(its.is_ready for its in shared.plane.scheduler.living_all()))
    (container,) = shared.containers("warm")

    assert deployed("shop", "warm").remote()[0] == 1
    assert container.taken == 1


def test_a_redeploy_replaces_versions_and_keeps_what_runs(
    shared: Loopback, path: Path, request: pytest.FixtureRequest
) -> None:
    (old,) = shared.containers("warm")
    app_id = shared.plane.apps.find("shop", "", "warm")

    request.getfixturevalue("redeployed")
    shared.wait_for(lambda: old.state == "ended")

    assert deployed("shop", "warm").remote()[0] == 2
    assert deployed("shop", "tick").remote() == 2
    assert shared.plane.apps.find("shop", "", "warm") == app_id
    with pytest.raises(modal.exception.NotFoundError):
        deployed("shop", "imports").remote("os")


def test_a_nonpreemptible_container_cannot_be_preempted(shared: Loopback, path: Path) -> None:
    call = deployed("shop", "tick").spawn()
    call.get()
    container = shared.containers("tick", ended=True)[-1]

    with pytest.raises(ValueError, match="nonpreemptible"):
        shared.preempt(container)


def test_a_failing_deploy_changes_nothing(shared: Loopback, path: Path) -> None:
    path.write_text(APP.replace("VERSION = 1", "VERSION = 3").replace("retries=3", "retries=11"))

    with pytest.raises(CommandError, match="retries must be at most 10"):
        shared.deploy(path, {"PYTHONPATH": str(path.parent)})

    path.write_text(APP)
    assert deployed("shop", "tick").remote() == 1


def test_the_stop_of_an_app_ends_its_calls(shared: Loopback, tmp_path: Path) -> None:
    app = tmp_path / "brief_app.py"
    app.write_text(
        "import modal, time\napp = modal.App('brief')\n"
        "@app.function(max_containers=1)\ndef hold(): time.sleep(60)\n"
    )
    shared.deploy(app)
    calls = [deployed("brief", "hold").spawn() for _ in range(2)]
    shared.wait_for(lambda: shared.plane.calls.get(calls[0].object_id).inputs[0].is_running)

    shared.run("app", "stop", "brief", "--yes")

    for call in calls:
        with pytest.raises(modal.exception.RemoteError):
            call.get()
    shared.wait_for(
        lambda: not [its for its in shared.plane.scheduler.living_all() if its.name == "hold"]
    )
    with pytest.raises(modal.exception.NotFoundError):
        deployed("brief", "hold").spawn()


def test_a_warning_of_the_client_fails_the_deploy(shared: Loopback, tmp_path: Path) -> None:
    app = tmp_path / "old_style.py"
    app.write_text(
        "import modal\napp = modal.App('old')\n@app.function()\ndef f(): pass\n"
        "app.registered_functions\n"
    )

    with pytest.raises(CommandError, match="DeprecationError"):
        shared.deploy(app)
