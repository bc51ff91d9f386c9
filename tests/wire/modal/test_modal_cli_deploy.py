"""`lorabot deploy` and `lorabot doctor` against Modal's own client and a Discord-like server."""

import re
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest
from modal_proto import api_pb2

from bot.deploy import deploy
from bot.messages.installation import PERMISSIONS, invite_link
from tests.wire.modal.command_line import Result, lorabot, lorabot_alone
from tests.wire.modal.loopback import limits, workspace
from tests.wire.modal.loopback.api import Loopback
from tests.wire.modal.sandbox_thread import SandboxThread
from tests.wire.modal.tampering import another_code, another_engine, less_memory, no_answer
from training.deployment.idle_cost import idle_costs
from training.deployment.image_pins import IMAGE_BUILDER
from training.deployment.image_recipes import RECIPES, command
from training.deployment.modal_prices import RATES
from training.deployment.names import Deployment
from training.deployment.resources import BOT
from training.estimates.machine_requests import TRAIN_REQUEST
from training.estimates.prices import CPU_RATE, LISTED, MEMORY_RATE, STORAGE_RATE, listed_prices

DEPLOY = ("deploy", "--app", "team", "--engine", "rehearsal")
DOCTOR = ("doctor", "--json", "--backend", "modal", "--app", "team")
HUB = ("my-huggingface-secret", {"HF_TOKEN": "hf_very_secret"})
ADMINISTRATOR = 1 << 3
# Longer than a deploy takes between two looks at the bot.
SLOW_PULL_SECONDS = 4.0


@pytest.fixture(scope="module")
def refused(operator: Loopback) -> dict[str, Result]:
    """What `lorabot deploy` prints if something is missing, before anything is deployed."""
    found = {"no secret": lorabot(*DEPLOY)}
    operator.create_secret("my-huggingface-secret", {"OTHER": "x"})
    found["no key"] = lorabot(*DEPLOY)
    found["no token"] = lorabot_alone(operator, *DEPLOY, env={"MODAL_TOKEN_ID": ""})
    found["doctor"] = lorabot(*DOCTOR)
    assert operator.call(operator.plane.apps.all_deployed) == []
    return found


@pytest.fixture(scope="module")
def requests() -> list[tuple[str, Any]]:
    """What the first deployment asked the service for."""
    return []


@pytest.fixture(scope="module")
def deployed(
    operator: Loopback,
    discord: SandboxThread,
    refused: dict[str, Result],
    requests: list[tuple[str, Any]],
) -> Result:
    operator.create_secret(*HUB)
    operator.create_secret("team-discord", {"LORABOT_DISCORD_TOKEN": discord.server.bot_token})
    router, before = operator.plane.router, operator.plane.router.heard
    router.heard = lambda name, request: requests.append((name, request))
    operator.settings.cold_start_seconds = SLOW_PULL_SECONDS
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workspace, "IMAGE_BUILDER", "2026.10")
        result = lorabot(*DEPLOY)
    operator.settings.cold_start_seconds = 0.0
    router.heard = before
    return result


def test_each_missing_secret_is_named_with_the_command_that_makes_it(
    refused: dict[str, Result],
) -> None:
    nothing, no_key = refused["no secret"], refused["no key"]

    assert (nothing.code, no_key.code) == (1, 1)
    assert "modal secret create my-huggingface-secret HF_TOKEN=...\n" in nothing.err
    assert "modal secret create team-discord LORABOT_DISCORD_TOKEN=...\n" in nothing.err
    assert "It lacks HF_TOKEN." in no_key.err
    assert "modal secret create my-huggingface-secret HF_TOKEN=... --force" in no_key.err


def test_without_a_modal_token_the_fix_is_shown(refused: dict[str, Result]) -> None:
    result = refused["no token"]

    assert (result.code, result.out) == (1, "")
    assert "modal setup" in result.err


def test_before_the_first_deployment_the_doctor_says_what_to_do(
    refused: dict[str, Result],
) -> None:
    result = refused["doctor"]

    found = {finding["check"]: finding for finding in result.json()}
    assert result.code == 1
    assert found["Modal token"]["text"] == "workspace loopback (environment main)"
    for check in ("Modal Volumes", "stages' app", "bot's app", "bot's server"):
        assert found[check]["status"] == "failed"
        assert found[check]["fix"] == "lorabot deploy --app team"
    assert found["secret team-discord"]["fix"].startswith("modal secret create team-discord")
    assert found["deployed Functions"]["status"] == "not checked"


def test_the_stages_are_deployed_first_and_then_the_bot_serves(
    deployed: Result, operator: Loopback
) -> None:
    address = re.search(r"http://127\.0\.0\.1:\d+", deployed.out)

    assert deployed.code == 0
    assert deployed.err.index("apps/team-stages") < deployed.err.index("Created Server Bot")
    assert address is not None
    assert address[0] == operator.public_url("Bot")
    assert httpx.get(f"{address[0]}/health").json() == {"status": "ok"}


def test_the_first_pull_of_an_image_is_waited_for_with_the_reason_on_the_screen(
    deployed: Result, operator: Loopback
) -> None:
    *_, waiting = (line for line in deployed.err.splitlines() if line.startswith("Waiting for the"))

    assert deployed.code == 0
    assert waiting == ("Waiting for the new copy to start (Modal pulls the image); at most 5 min")
    assert BOT.startup_seconds == 5 * 60


def test_the_image_builder_and_the_version_of_volumes_are_ours_whatever_the_workspace_has(
    deployed: Result, requests: list[tuple[str, Any]]
) -> None:
    builders = [its.builder_version for name, its in requests if name == "ImageGetOrCreate"]
    volumes = {
        its.deployment_name: its.version for name, its in requests if name == "VolumeGetOrCreate"
    }

    assert deployed.code == 0
    assert set(builders) == {IMAGE_BUILDER} == {"2025.06"}
    assert volumes == {f"team-{area}": api_pb2.VOLUME_FS_VERSION_V1 for area in Deployment().areas}


def test_idle_cost_and_next_steps_are_shown(deployed: Result, discord: SandboxThread) -> None:
    total = sum(cost.usd for cost in idle_costs(LISTED))

    assert f"about ${total:.2f} per 30 days" in deployed.out
    assert invite_link(discord.server.world.application_id) in deployed.out
    assert "lorabot doctor --backend modal --app team" in deployed.out


def test_no_secret_is_printed(deployed: Result, discord: SandboxThread) -> None:
    result = lorabot(*DOCTOR)

    for secret in (discord.server.bot_token, "hf_very_secret", "as-loopback"):
        assert secret not in deployed.out + deployed.err + result.out + result.err


@pytest.mark.usefixtures("deployed")
def test_after_a_deployment_all_checks_pass() -> None:
    result = lorabot(*DOCTOR)

    states = {finding["check"]: finding["status"] for finding in result.json()}
    assert result.code == 0
    on_machine = {"musubi-tuner", "GPU", "Modal prices"}
    assert {check for check, state in states.items() if state != "fine"} == on_machine


@pytest.mark.usefixtures("deployed")
def test_text_output_has_one_line_per_check(operator: Loopback) -> None:
    result = lorabot("doctor", "--backend", "modal", "--app", "team")

    assert result.code == 0
    assert "fine         Modal token: workspace loopback (environment main)\n" in result.out
    assert f"bot's server: {operator.public_url('Bot')} answers" in result.out


@pytest.mark.usefixtures("deployed")
def test_a_deployment_of_other_code_must_be_deployed_again(operator: Loopback) -> None:
    with _changed(operator, another_code) as finding:
        assert "different version" in finding("stages' app")["text"]
        assert finding("stages' app")["fix"] == "lorabot deploy --app team"
        assert finding("bot's app")["status"] == "fine"


@pytest.mark.usefixtures("deployed")
def test_a_function_with_other_resources_is_named_with_the_difference(operator: Loopback) -> None:
    with _changed(operator, less_memory) as finding:
        text = finding("deployed Functions")["text"]
        assert text == f"train has MiB of memory 1024, not {TRAIN_REQUEST.memory_gib * 1024:.0f}."


@pytest.mark.usefixtures("deployed")
def test_a_bot_with_another_engine_than_its_stages_is_reported(operator: Loopback) -> None:
    with _changed(operator, another_engine) as finding:
        assert "uses musubi, but the deployed stages" in finding("bot's app")["text"]
        assert finding("bot's app")["fix"] == "lorabot deploy --app team"


@pytest.mark.usefixtures("deployed")
def test_live_prices_are_compared_with_the_list(operator: Loopback) -> None:
    cards = {name: f"{listed_prices().usd_per_hour(card)}" for card, name in RATES.items()}
    others = {CPU_RATE: "0.0472", MEMORY_RATE: "0.0080", STORAGE_RATE: "0.09"}
    rates = {**cards, **others}

    operator.settings.rates = rates
    same = _finding("Modal prices")
    operator.settings.rates = {**rates, "gpu_hour_cost_h100": "5.00"}
    dearer = _finding("Modal prices")
    operator.settings.rates = None

    assert same["text"] == "live, as in the list of 2026-07-01"
    assert "gpu_hour_cost_h100 $3.949 -> $5" in dearer["text"]
    assert dearer["status"] == "fine"


@pytest.mark.usefixtures("deployed")
def test_a_bot_that_does_not_serve_is_reported_with_where_to_look(operator: Loopback) -> None:
    with _changed(operator, no_answer) as finding:
        assert finding("bot's server")["status"] == "failed"
        assert finding("bot's server")["fix"] == "modal app logs team"


@pytest.mark.usefixtures("deployed")
def test_a_server_with_missing_permissions_is_named(discord: SandboxThread) -> None:
    world = discord.server.world
    guild = next(iter(world.guilds.values()))
    roles = {role["id"]: role for role in guild["roles"]}
    before = {name: role["permissions"] for name, role in roles.items()}
    for name, role in roles.items():
        role["permissions"] = str(int(before[name]) & ~PERMISSIONS["Attach Files"])

    lacking = _finding("Discord servers")
    roles[guild["id"]]["permissions"] = str(ADMINISTRATOR)
    administrator = _finding("Discord servers")
    for name, role in roles.items():
        role["permissions"] = before[name]

    assert lacking["status"] == "failed"
    assert f"in {guild['name']} it lacks Attach Files." in lacking["text"]
    assert invite_link(world.application_id) in lacking["fix"]
    assert administrator["status"] == "fine"


@pytest.mark.usefixtures("deployed")
def test_a_token_unknown_to_discord_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORABOT_DISCORD_TOKEN", "mistyped")

    found = {finding["check"]: finding for finding in lorabot(*DOCTOR).json()}

    assert found["Discord token"]["status"] == "failed"
    assert "--force" in found["Discord token"]["fix"]
    assert found["Discord servers"]["status"] == "not checked"


@pytest.mark.usefixtures("deployed")
def test_an_error_of_modal_is_shown_and_ends_the_deployment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "MAX_MILLI_CPU", 1000)

    result = lorabot(*DEPLOY)

    assert (result.code, result.out) == (1, "")
    assert "cpu must be at most 1" in result.err
    assert "Deploying training.modal_app failed" in result.err
    assert "Server Bot" not in result.err


@pytest.mark.usefixtures("deployed")
def test_a_failing_import_check_of_an_image_ends_the_deployment_with_its_reason(
    operator: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = "ImportError: libGL.so.1: cannot open shared object file"
    (check,) = RECIPES["stage"].checks
    monkeypatch.setattr(operator.settings, "failing_builds", {command(*check): missing})
    before = operator.variables("prepare")

    result = lorabot(*DEPLOY)

    assert (result.code, result.out) == (1, "")
    assert missing in result.err
    assert "Image build for im-" in result.err
    assert "error: Deploying training.modal_app failed with exit code 1" in result.err
    assert operator.variables("prepare") == before


@pytest.mark.usefixtures("deployed")
def test_a_spend_limit_that_ends_a_deploy_is_named_with_where_to_raise_it(
    operator: Loopback,
) -> None:
    operator.settings.is_spend_limit_reached = True

    result = lorabot(*DEPLOY)
    operator.settings.is_spend_limit_reached = False

    assert (result.code, result.out) == (1, "")
    assert "error: training.modal_app was not deployed. The spend limit of the" in result.err
    assert "modal.com/settings/usage" in result.err
    assert "Traceback" not in result.err


@pytest.mark.usefixtures("deployed")
def test_a_bot_that_does_not_start_is_reported_with_where_to_look(
    operator: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deploy, "BOT", replace(BOT, startup_seconds=0))

    with _changed(operator, no_answer):
        result = lorabot(*DEPLOY)

    assert (result.code, result.out) == (1, "")
    assert "Everything is deployed, but the bot at http://127.0.0.1:9 does not answer" in result.err
    assert "modal app logs team" in result.err


def test_without_any_account_skipped_checks_say_why(operator: Loopback) -> None:
    env = {"MODAL_TOKEN_ID": ""}

    result = lorabot_alone(operator, "doctor", "--json", env=env)
    asked_for = lorabot_alone(operator, "doctor", "--json", "--backend", "modal", env=env)

    found = {finding["check"]: finding for finding in result.json()}
    assert (result.code, asked_for.code) == (0, 1)
    assert {found[check]["status"] for check in ("Python", "packages", "disk")} == {"fine"}
    for check in ("Modal token", "Modal Volumes", "Discord token", "Discord servers"):
        assert found[check]["status"] == "not checked"
        assert found[check]["text"]


def test_modal_is_skipped_with_the_local_backend(operator: Loopback) -> None:
    result = lorabot("doctor", "--json", "--backend", "local")

    checks = {finding["check"] for finding in result.json()}
    assert "Modal token" not in checks
    assert "Python" in checks


def _finding(check: str) -> dict[str, str]:
    return next(found for found in lorabot(*DOCTOR).json() if found["check"] == check)


@contextmanager
def _changed(
    loopback: Loopback, change: Callable[[Loopback], Callable[[], object] | None]
) -> Generator[Callable[[str], dict[str, str]]]:
    """Give the body what the doctor finds after a change; it is taken back."""
    undo = loopback.call(lambda: change(loopback))
    try:
        found = {finding["check"]: finding for finding in lorabot(*DOCTOR).json()}
        yield lambda check: found[check]
    finally:
        if undo is not None:
            loopback.call(undo)
