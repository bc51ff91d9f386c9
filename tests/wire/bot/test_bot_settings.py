"""`/settings`: who may use it, and what its team role and fallback channel do."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.hosting.bot import RunningBot
from bot.hosting.local import LocalInstallation
from bot.sandbox.client import SandboxUser
from bot.sandbox.server import SandboxServer
from bot.sandbox.wire import Json
from bot.service.server_settings import SettingsStore
from tests.wire.bot.chat import ROLE, Chat, give_role
from training.errors import NotFoundError

MANAGE_SERVER = 1 << 5
SEND_MESSAGES = 1 << 11


@pytest.fixture
def studio(server: SandboxServer) -> Json:
    """The server in which Ada, Ben and Cleo talk."""
    return next(one for one in server.world.guilds.values() if one["name"] == "Studio A")


@pytest.fixture
async def cleo(server: SandboxServer, bot: RunningBot) -> AsyncIterator[Chat]:
    async with SandboxUser(server.page_url, user="Cleo") as user:
        yield Chat(user)


def add_role(server: SandboxServer, studio: Json, name: str, *members: str) -> str:
    """Create a role, give it to people and return its id."""
    role: Json = {"id": server.world.ids.next(), "name": name, "permissions": "0"}
    server.faults.save_role(studio["id"], role | {"managed": False, "mentionable": True})
    for user_id, member in studio["members"].items():
        if server.world.users[user_id]["global_name"] in members:
            member["roles"] = [*member["roles"], role["id"]]
    server.world.save_guild(studio)
    return str(role["id"])


def channel_of(server: SandboxServer, studio: Json, name: str) -> Json:
    return next(one for one in server.world.channels_of(studio["id"]) if one["name"] == name)


async def test_a_chosen_team_role_may_change_what_others_made_whatever_its_name(  # noqa: PLR0913
    ada: Chat,
    ben: Chat,
    cleo: Chat,
    server: SandboxServer,
    studio: Json,
    local: LocalInstallation,
    archive: Path,
) -> None:
    await ben.ask("dataset add", name="annika", zip=archive)
    role = add_role(server, studio, "trainers", "Cleo")

    before = await cleo.refused("dataset remove", name="annika")
    changed = await ada.ask("settings", team_role=role)
    renamed = server.world.role(studio["id"], role) | {"name": "renamed"}
    server.faults.save_role(studio["id"], renamed)
    question = await cleo.ask("dataset remove", name="annika")
    cleared = await ada.ask("settings", clear="team-role")
    after = await cleo.refused("dataset remove", name="annika")

    assert "belongs to somebody else" in before
    assert f"<@&{role}>" in changed.text
    assert changed.ephemeral
    assert "Remove all of annika" in question.text
    assert "Team role\nNone." in cleared.text
    assert "belongs to somebody else" in after
    kept = SettingsStore(local.runtime).read(studio["id"])
    assert (kept.team_role, kept.is_team_role_chosen) == (None, True)


async def test_only_members_with_manage_server_see_and_use_it(
    ada: Chat, ben: Chat, server: SandboxServer, studio: Json, bot: RunningBot
) -> None:
    with pytest.raises(NotFoundError):
        await ben.ask("settings")
    # The server's managers can let others see a command, but not have the right.
    for command in server.commands.of(None):
        command["default_member_permissions"] = None
    refused = [
        await ben.refused("settings"),
        await ben.refused("settings", clear="team-role"),
    ]
    everyone = studio["roles"][0]
    everyone["permissions"] = str(int(everyone["permissions"]) | MANAGE_SERVER)
    server.world.save_guild(studio)

    shown = await ben.ask("settings")

    assert all("Only members who manage the server can see and change" in one for one in refused)
    assert shown.text.startswith("Settings of this server")


async def test_a_choice_that_cannot_work_is_refused_and_changes_nothing(
    ada: Chat, server: SandboxServer, studio: Json, bot: RunningBot, local: LocalInstallation
) -> None:
    channel = channel_of(server, studio, "training")
    role = add_role(server, studio, "trainers")
    before = await ada.ask("settings", fallback_channel=channel["id"], team_role=role)
    server.faults.deny(channel["id"], SEND_MESSAGES)

    refused = [
        await ada.refused("settings", team_role=studio["id"]),
        await ada.refused("settings", team_role=role, clear="team-role"),
        await ada.refused("settings", fallback_channel=channel["id"]),
        await ada.refused("settings", ask_above=5.0, clear="ask-above"),
    ]
    server.faults.delete_role(studio["id"], role)
    after = await ada.ask("settings")

    assert "@everyone cannot be the team" in refused[0]
    assert "team-role is both set and cleared" in refused[1]
    assert "it lacks Send Messages" in refused[2]
    assert "ask-above is both set and cleared" in refused[3]
    assert f"<#{channel['id']}>" in before.text
    assert "The role was deleted" in after.text
    kept = SettingsStore(local.runtime).read(studio["id"])
    assert (kept.team_role, kept.fallback_channel) == (role, channel["id"])


async def test_a_role_of_the_operators_name_is_shown_and_stays(
    ada: Chat, server: SandboxServer, studio: Json, local: LocalInstallation
) -> None:
    role = next(one["id"] for one in studio["roles"] if one["name"] == ROLE)

    before = await ada.ask("settings")
    give_role(server, "Ada", renamed="another-name")
    after = await ada.ask("settings")

    assert f"<@&{role}>" in before.text
    assert after.text == before.text


async def test_the_cost_above_which_runs_are_asked_about_is_kept_and_cleared(
    ada: Chat, studio: Json, local: LocalInstallation
) -> None:
    before = await ada.ask("settings")
    changed = await ada.ask("settings", ask_above=12.5)
    kept = SettingsStore(local.runtime).read(studio["id"]).ask_above_usd
    cleared = await ada.ask("settings", clear="ask-above")

    assert "$2.00" in before.text
    assert "$12.50" in changed.text
    assert kept == 12.5
    assert "$2.00" in cleared.text
