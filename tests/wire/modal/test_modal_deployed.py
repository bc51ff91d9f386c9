"""What a deploy tells Modal about the stages, read back from the control plane."""

import re
from collections.abc import Mapping

import pytest
from modal_proto import api_pb2

from tests.resource_table import functions_table, table
from tests.wire.modal.installation import ROOT
from tests.wire.modal.loopback.api import Loopback
from training.deployment.code_version import BOT_CODE, COMPILED
from training.deployment.image_pins import MUSUBI_COMMANDS, PACKAGES, TORCH
from training.deployment.image_recipes import RECIPES, ImageName, command
from training.deployment.names import DISCORD_KEYS, HUB_SECRET, Deployment
from training.deployment.resources import (
    BOT,
    BOT_FUNCTIONS,
    FUNCTIONS,
    STARTUP_SECONDS,
    FunctionName,
    Resources,
    ServerResources,
)
from training.store_keys import Area

README = (ROOT / "bot/deploy/README.md").read_text("utf-8")
NAMES: tuple[FunctionName, ...] = tuple(FUNCTIONS)
WITH_GPU: list[FunctionName] = [name for name, resources in FUNCTIONS.items() if resources.gpu]


@pytest.fixture(scope="module")
def deployed(shared: Loopback) -> Loopback:
    """Both apps, as an operator deploys them; no container reaches its first line."""
    shared.settings.cold_start_seconds = 3600.0
    shared.create_secret(HUB_SECRET, {"HF_TOKEN": "hf_loopback"})
    shared.create_secret(Deployment().discord_secret, dict.fromkeys(DISCORD_KEYS, "token"))
    shared.deploy("module:training.modal_app", cwd=ROOT)
    shared.deploy("module:bot.modal_app", cwd=ROOT)
    return shared


def data_of(loopback: Loopback, name: str) -> api_pb2.FunctionData:
    """Return what the control plane was told of a Function or server."""
    for app in loopback.plane.apps.all_deployed():
        if name in app.tags:
            definition = loopback.plane.functions.get(app.tags[name]).active
            assert definition is not None  # it is deployed
            return definition.data
    raise KeyError(name)


@pytest.fixture(scope="module")
def told(deployed: Loopback) -> Mapping[FunctionName, api_pb2.FunctionData]:
    """What the control plane was told of each Function."""
    tags = {tag for app in deployed.plane.apps.all_deployed() for tag in app.tags}
    assert {tag for tag in tags if not tag.startswith("fu-")} == {*NAMES, "Bot"}
    return {name: data_of(deployed, name) for name in NAMES}


def resources(data: api_pb2.FunctionData) -> Resources:
    """Return the figures that the control plane was told."""
    each = [its.function for its in sorted(data.ranked_functions, key=lambda its: its.rank)]
    first = each[0]
    cards = tuple(its.resources.gpu_config.gpu_type for its in each)
    assert {its.resources.gpu_config.count for its in each} <= {0, 1}
    return Resources(
        gpu=tuple(card for card in cards if card),
        cpu=first.resources.milli_cpu / 1000,
        memory_gib=first.resources.memory_mb / 1024,
        timeout_seconds=first.timeout_secs,
        retries=first.retry_policy.retries,
        idle_seconds=0
        if first.single_use_containers
        else first.autoscaler_settings.scaledown_window,
        cron=data.schedule.cron.cron_string or None,
        areas=areas(first, is_read_only=False),
    )


def areas(function: api_pb2.Function, *, is_read_only: bool) -> tuple[Area, ...]:
    """Return which Volumes are mounted, all in the same way."""
    mounts = {its.mount_path: its.read_only for its in function.volume_mounts}
    assert set(mounts.values()) <= {is_read_only}
    return tuple(area for area in Deployment().areas if Deployment().mount_path(area) in mounts)


def server(data: api_pb2.FunctionData) -> ServerResources:
    """Return the figures of the bot's server that the control plane was told."""
    (ranked,) = data.ranked_functions
    function = ranked.function
    assert not function.resources.gpu_config.gpu_type
    assert function.autoscaler_settings.min_containers == 1
    return ServerResources(
        cpu=function.resources.milli_cpu / 1000,
        memory_gib=function.resources.memory_mb / 1024,
        port=function.http_config.port,
        startup_seconds=function.http_config.startup_timeout,
        grace_seconds=function.http_config.exit_grace_period,
        areas=areas(function, is_read_only=True),
    )


def test_the_deployed_resources_are_those_of_the_table(
    deployed: Loopback, told: Mapping[FunctionName, api_pb2.FunctionData]
) -> None:
    assert {name: resources(data) for name, data in told.items()} == dict(FUNCTIONS)
    assert server(data_of(deployed, "Bot")) == BOT


def test_the_table_in_the_readme_is_what_was_deployed(
    deployed: Loopback, told: Mapping[FunctionName, api_pb2.FunctionData]
) -> None:
    read_back: dict[FunctionName, Resources] = {n: resources(data) for n, data in told.items()}

    assert table(read_back, server(data_of(deployed, "Bot"))) == functions_table()
    assert f"### What is deployed\n\n{functions_table()}" in README


def test_a_deployment_has_a_single_schedule(
    told: Mapping[FunctionName, api_pb2.FunctionData],
) -> None:
    scheduled = [name for name, data in told.items() if data.schedule.WhichOneof("schedule_oneof")]

    assert scheduled == ["tick"]


def test_only_caching_and_training_have_a_gpu(
    told: Mapping[FunctionName, api_pb2.FunctionData],
) -> None:
    cards = {name: resources(data).gpu for name, data in told.items()}

    assert [name for name, gpu in cards.items() if gpu] == [
        *("cache", "train", "cache_small", "train_small", "cache_chosen", "train_chosen")
    ]
    for name in WITH_GPU:
        function = told[name].ranked_functions[0].function
        assert function.single_use_containers
        assert function.autoscaler_settings.min_containers == 0
        assert function.autoscaler_settings.buffer_containers == 0


def test_no_container_takes_longer_to_start_than_it_may_work(
    told: Mapping[FunctionName, api_pb2.FunctionData],
) -> None:
    for data in told.values():
        function = data.ranked_functions[0].function
        assert 0 < function.startup_timeout_secs <= min(STARTUP_SECONDS, function.timeout_secs)


def steps(loopback: Loopback, function: str) -> list[str]:
    """Return the lines that an image is built by, the first first."""
    layers = loopback.image_steps(function)
    return [line for layer in layers for line in layer.commands if not line.startswith("FROM base")]


def image_of(function: str) -> ImageName:
    if function in (*BOT_FUNCTIONS, "Bot"):
        return "bot"
    if function == "merge":
        return "merge"
    return "gpu" if function in WITH_GPU else "stage"


def place(lines: list[str], text: str) -> int:
    (found,) = (number for number, line in enumerate(lines) if text in line)
    return found


@pytest.mark.parametrize("name", [*(n for n in NAMES if n not in (*WITH_GPU, "merge")), "Bot"])
def test_the_images_of_the_bot_and_of_stages_on_cpus_have_no_torch(
    deployed: Loopback, name: str
) -> None:
    assert not [line for line in steps(deployed, name) if "torch" in line]


def test_the_image_of_the_merge_has_torch_for_cpus_above_what_changes_less(
    deployed: Loopback,
) -> None:
    lines = steps(deployed, "merge")

    assert place(lines, PACKAGES[0]) < place(lines, TORCH)
    assert "/whl/cpu" in lines[place(lines, TORCH)]


@pytest.mark.parametrize("name", WITH_GPU)
def test_the_image_with_a_gpu_has_the_pinned_trainer_below_our_own_packages(
    deployed: Loopback, name: str
) -> None:
    lines = steps(deployed, name)

    places = [place(lines, command) for command in MUSUBI_COMMANDS]
    assert places == sorted(places)
    assert place(lines, "install -y git") < places[0]
    assert places[-1] < place(lines, PACKAGES[0])


@pytest.mark.parametrize("name", [*NAMES, "Bot"])
def test_each_image_ends_with_the_import_checks_of_its_recipe(
    deployed: Loopback, name: str
) -> None:
    checks = [f"RUN {command(*check)}" for check in RECIPES[image_of(name)].checks]

    assert steps(deployed, name)[-len(checks) :] == checks


@pytest.mark.parametrize("name", [*NAMES, "Bot"])
def test_local_code_comes_last_and_is_in_no_layer_of_an_image(
    deployed: Loopback, name: str
) -> None:
    copied = [line for line in steps(deployed, name) if re.match(r"(COPY|ADD) (?!--from=)", line)]
    function = data_of(deployed, name).ranked_functions[0].function
    files = {file for mount in function.mount_ids for file in deployed.plane.mounts.files(mount)}

    assert copied == []
    assert "/root/training/pipeline/stage_runner.py" in files
    assert "/root/storage/modal/runtime.py" in files
    assert ("/root/bot/modal_app.py" in files) == (name in (*BOT_FUNCTIONS, "Bot"))
    assert not [file for file in files if file.startswith("/root/tests/")]


def test_the_bots_container_gets_every_file_of_the_code(deployed: Loopback) -> None:
    function = data_of(deployed, "Bot").ranked_functions[0].function
    sent = {file for mount in function.mount_ids for file in deployed.plane.mounts.files(mount)}
    files = {path for package in BOT_CODE for path in (ROOT / package).rglob("*.*")}
    ours = {f"/root/{path.relative_to(ROOT)}" for path in files if COMPILED not in path.parts}

    assert "/root/bot/web/uploads/page/index.html" in ours
    assert ours <= sent
