"""`lorabot deploy` and `lorabot doctor` against Modal's own client and a Discord-like server."""

import re
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace

import httpx
import pytest

from bot.deploy import deploy
from bot.messages.invite import PERMISSIONS, invite_link
from tests.wire.modal.command_line import Result, lorabot, lorabot_alone
from tests.wire.modal.loopback import limits
from tests.wire.modal.loopback.api import Loopback
from tests.wire.modal.sandbox_thread import SandboxThread
from tests.wire.modal.tampering import another_code, another_engine, less_memory, no_answer
from training.deployment.idle_cost import idle_costs
from training.deployment.modal_prices import RATES
from training.deployment.resources import BOT
from training.estimates.prices import CPU_RATE, LISTED, MEMORY_RATE, STORAGE_RATE, listed_prices

DEPLOY = ("deploy", "--app", "team", "--engine", "rehearsal")
DOCTOR = ("doctor", "--json", "--backend", "modal", "--app", "team")
HUB = ("my-huggingface-secret", {"HF_TOKEN": "hf_very_secret"})
ADMINISTRATOR = 1 << 3


@pytest.fixture(scope="module")
def refused(operator: Loopback) -> dict[str, Result]:
    """What `lorabot deploy` says while something is missing, before anything is deployed."""
    found = {"no secret": lorabot(*DEPLOY)}
    operator.create_secret("my-huggingface-secret", {"OTHER": "x"})
    found["no key"] = lorabot(*DEPLOY)
    found["no token"] = lorabot_alone(operator, *DEPLOY, env={"MODAL_TOKEN_ID": ""})
    found["doctor"] = lorabot(*DOCTOR)
    assert operator.call(operator.plane.apps.all_deployed) == []
    return found


@pytest.fixture(scope="module")
def deployed(operator: Loopback, discord: SandboxThread, refused: dict[str, Result]) -> Result:
    operator.create_secret(*HUB)
    operator.create_secret("team-discord", {"LORABOT_DISCORD_TOKEN": discord.server.bot_token})
    return lorabot(*DEPLOY)


def test_each_missing_secret_is_named_with_the_command_that_makes_it(
    refused: dict[str, Result],
) -> None:
    nothing, no_key = refused["no secret"], refused["no key"]

    assert (nothing.code, no_key.code) == (1, 1)
    assert "modal secret create my-huggingface-secret HF_TOKEN=...\n" in nothing.err
    assert "modal secret create team-discord LORABOT_DISCORD_TOKEN=...\n" in nothing.err
    assert "It lacks HF_TOKEN." in no_key.err
    assert "modal secret create my-huggingface-secret HF_TOKEN=... --force" in no_key.err


def test_without_a_token_of_modal_the_way_to_one_is_told(refused: dict[str, Result]) -> None:
    result = refused["no token"]

    assert (result.code, result.out) == (1, "")
    assert "modal setup" in result.err


def test_before_the_first_deployment_the_doctor_says_what_is_to_be_done(
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


def test_what_it_costs_idle_and_what_comes_next_is_told(
    deployed: Result, discord: SandboxThread
) -> None:
    total = sum(cost.usd for cost in idle_costs(LISTED))

    assert f"about ${total:.2f} in 30 days" in deployed.out
    assert invite_link(discord.server.world.application_id) in deployed.out
    assert "lorabot doctor --backend modal --app team" in deployed.out


def test_no_secret_is_printed(deployed: Result, discord: SandboxThread) -> None:
    result = lorabot(*DOCTOR)

    for secret in (discord.server.bot_token, "hf_very_secret", "as-loopback"):
        assert secret not in deployed.out + deployed.err + result.out + result.err


@pytest.mark.usefixtures("deployed")
def test_after_a_deployment_all_is_fine() -> None:
    result = lorabot(*DOCTOR)

    states = {finding["check"]: finding["status"] for finding in result.json()}
    assert result.code == 0
    on_machine = {"musubi-tuner", "GPU", "Modal prices"}
    assert {check for check, state in states.items() if state != "fine"} == on_machine


@pytest.mark.usefixtures("deployed")
def test_for_people_each_check_is_a_line(operator: Loopback) -> None:
    result = lorabot("doctor", "--backend", "modal", "--app", "team")

    assert result.code == 0
    assert "fine         Modal token: workspace loopback (environment main)\n" in result.out
    assert f"bot's server: {operator.public_url('Bot')} answers" in result.out


@pytest.mark.usefixtures("deployed")
def test_what_was_deployed_from_other_code_is_to_be_deployed_again(operator: Loopback) -> None:
    with _changed(operator, another_code) as finding:
        assert "different version" in finding("stages' app")["text"]
        assert finding("stages' app")["fix"] == "lorabot deploy --app team"
        assert finding("bot's app")["status"] == "fine"


@pytest.mark.usefixtures("deployed")
def test_a_function_with_other_resources_is_named_with_the_difference(operator: Loopback) -> None:
    with _changed(operator, less_memory) as finding:
        text = finding("deployed Functions")["text"]
        assert text == "train has MiB of memory 1024, not 49152."


@pytest.mark.usefixtures("deployed")
def test_a_bot_of_another_engine_than_its_stages_is_told(operator: Loopback) -> None:
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
def test_a_bot_that_does_not_serve_is_found_with_where_to_look(operator: Loopback) -> None:
    with _changed(operator, no_answer) as finding:
        assert finding("bot's server")["status"] == "failed"
        assert finding("bot's server")["fix"] == "modal app logs team"


@pytest.mark.usefixtures("deployed")
def test_a_server_that_gives_too_few_permissions_is_named(discord: SandboxThread) -> None:
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
def test_a_token_that_discord_does_not_know_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORABOT_DISCORD_TOKEN", "mistyped")

    found = {finding["check"]: finding for finding in lorabot(*DOCTOR).json()}

    assert found["Discord token"]["status"] == "failed"
    assert "--force" in found["Discord token"]["fix"]
    assert found["Discord servers"]["status"] == "not checked"


@pytest.mark.usefixtures("deployed")
def test_what_modal_refuses_is_shown_and_ends_the_deployment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "MAX_MILLI_CPU", 1000)

    result = lorabot(*DEPLOY)

    assert (result.code, result.out) == (1, "")
    assert "cpu must be at most 1" in result.err
    assert "Deploying training.modal_app failed" in result.err
    assert "Server Bot" not in result.err


@pytest.mark.usefixtures("deployed")
def test_a_bot_that_does_not_come_up_is_told_with_where_to_look(
    operator: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deploy, "BOT", replace(BOT, startup_seconds=0))

    with _changed(operator, no_answer):
        result = lorabot(*DEPLOY)

    assert (result.code, result.out) == (1, "")
    assert "Everything is deployed, but the bot at http://127.0.0.1:9 does not answer" in result.err
    assert "modal app logs team" in result.err


def test_without_any_account_what_cannot_be_checked_says_why(operator: Loopback) -> None:
    env = {"MODAL_TOKEN_ID": ""}

    result = lorabot_alone(operator, "doctor", "--json", env=env)
    asked_for = lorabot_alone(operator, "doctor", "--json", "--backend", "modal", env=env)

    found = {finding["check"]: finding for finding in result.json()}
    assert (result.code, asked_for.code) == (0, 1)
    assert {found[check]["status"] for check in ("Python", "packages", "disk")} == {"fine"}
    for check in ("Modal token", "Modal Volumes", "Discord token", "Discord servers"):
        assert found[check]["status"] == "not checked"
        assert found[check]["text"]


def test_modal_is_left_out_when_only_this_machine_is_meant(operator: Loopback) -> None:
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
