"""What members may do with things that others made, by every command and button."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import discord
import pytest

from bot.discord.buttons.datasets import DatasetButton
from bot.discord.buttons.seals import sealed
from bot.hosting.bot import RunningBot
from bot.hosting.local import LocalInstallation
from bot.sandbox.client import Message, SandboxUser
from bot.sandbox.server import SandboxServer
from tests.adapters import tensors, widths, write_adapter
from tests.media import guide_files, write_zip
from tests.wire.bot.added_runs import add_trained_run, place_of
from tests.wire.bot.chat import Chat, give_role
from tests.wire.bot.forged import forged
from training.runs import events as ev

T2V = "wan21-t2v-1-3b"
SLOW = "LORABOT_STEP_DELAY"
FREE = ("Train", "Captions")  # buttons that everybody may press
REFUSED = "belongs to somebody else"


@pytest.fixture
async def cleo(server: SandboxServer, bot: RunningBot) -> AsyncIterator[Chat]:
    """A member without roles; Ben is one too, and Ada owns the server."""
    async with SandboxUser(server.page_url, user="Cleo") as user:
        yield Chat(user)


async def press(chat: Chat, message: Message, label: str) -> Message:
    return await chat.user.reply(await chat.user.press(message, label))


async def test_a_stranger_cannot_change_a_dataset_in_any_way(
    ben: Chat,
    cleo: Chat,
    bot: RunningBot,
    local: LocalInstallation,
    archive: Path,
    tmp_path: Path,
) -> None:
    other = write_zip(tmp_path / "other.zip", guide_files(images=3, clips=0))
    added = await ben.ask("dataset add", name="annika", zip=archive, trigger="ohwx")
    guild = local.guilds()[0]
    seal = str(added.buttons["Remove"]["custom_id"]).rpartition(":")[2]
    message = await cleo.user.post(
        "mine", [write_zip(tmp_path / "annika.zip", guide_files(images=4, clips=0))]
    )
    named = DatasetButton("remove-now", "annika@1", sealed(guild, "annika@1"))
    whole = DatasetButton("remove-all", "annika@1", sealed(guild, "annika@1"))
    confirming = await forged(bot, cleo, named, whole)

    refused = [
        await cleo.refused("dataset remove", name="annika"),
        await cleo.refused("dataset remove", name="annika@1"),
        *[
            await cleo.refused("dataset add", name="annika", zip=other, mode=mode)
            for mode in ("new", "add", "replace")
        ],
        await cleo.refused("dataset captions", name="annika", prefix=True),
        (await cleo.user.reply(await cleo.user.context("Use as dataset", message))).text,
        *[(await press(cleo, added, label)).text for label in added.buttons if label not in FREE],
        *[(await press(cleo, confirming, label)).text for label in confirming.buttons],
    ]

    assert seal == sealed(guild, "annika@1")
    assert [text for text in refused if REFUSED not in text] == []
    assert [v.number for v in local.datasets.versions(guild, "annika")] == [1]
    assert local.datasets.owner(guild, "annika") == local.datasets.find(guild, "annika").added_by
    assert "Captions of" in (await press(cleo, added, "Captions")).text


async def test_a_stranger_does_not_take_over_an_upload_that_waits(
    ben: Chat, cleo: Chat, local: LocalInstallation, tmp_path: Path
) -> None:
    files = guide_files(images=2, clips=0)
    missing = next(name for name in files if name.endswith(".txt"))
    path = write_zip(tmp_path / "annika.zip", {k: v for k, v in files.items() if k != missing})
    waiting = await ben.ask("dataset add", name="annika", zip=path)

    stolen = (await press(cleo, waiting, "Leave these out")).text
    own = await press(ben, waiting, "Leave these out")

    assert REFUSED in stolen
    assert "annika@1" in own.text
    guild = local.guilds()[0]
    assert local.datasets.owner(guild, "annika") == local.datasets.find(guild, "annika").added_by


async def test_team_and_managers_may_change_what_others_made(
    ada: Chat,
    ben: Chat,
    cleo: Chat,
    server: SandboxServer,
    local: LocalInstallation,
    archive: Path,
) -> None:
    await ben.ask("dataset add", name="annika", zip=archive)
    await ben.ask("dataset add", name="berta", zip=archive)
    give_role(server, "Cleo", renamed="another-name")

    by_team = await cleo.ask("dataset captions", name="annika", prefix=True, trigger="ohwx")
    question = await ada.ask("dataset remove", name="berta")
    await press(ada, question, "Remove every version")

    guild = local.guilds()[0]
    assert "annika@2" in by_team.text
    # A version of the team's does not make the dataset theirs.
    assert local.datasets.owner(guild, "annika") == local.datasets.find(guild, "annika@1").added_by
    assert local.datasets.names(guild) == ["annika"]


async def test_a_stranger_cannot_cancel_resume_or_remove_what_others_made(  # noqa: PLR0913
    ben: Chat,
    cleo: Chat,
    bot: RunningBot,
    archive: Path,
    local: LocalInstallation,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = write_adapter(tmp_path / "old.safetensors", tensors(widths(T2V)))
    await ben.ask("checkpoint add", file=file, model=T2V)
    await ben.ask("dataset add", name="annika", zip=archive)
    monkeypatch.setenv(SLOW, "0.5")
    await ben.ask("train", model=T2V, dataset="annika", name="mine", epochs="2")
    card = await ben.card("mine", lambda m: "Cancel" in m.buttons)
    clips = discord.ui.Button[discord.ui.View](label="clips", custom_id="clips:mine")

    refused = [
        await cleo.refused("checkpoint remove", name="old"),
        await cleo.refused("cancel", run_name="mine"),
        (await press(cleo, card, "Cancel")).text,
        (await press(cleo, await forged(bot, cleo, clips), "clips")).text,
    ]
    await ben.ask("cancel", run_name="mine")
    ended = await ben.card("mine", lambda m: "Resume" in m.buttons)
    retry = discord.ui.Button[discord.ui.View](label="retry", custom_id="retry:mine")
    refused += [
        await cleo.refused("resume", run_name="mine"),
        (await press(cleo, ended, "Resume")).text,
        (await press(cleo, await forged(bot, cleo, retry), "retry")).text,
    ]

    guild = local.guilds()[0]
    assert [text for text in refused if REFUSED not in text] == []
    assert local.runs.names(guild) == ["mine"]
    assert local.loras.names(guild) == ["old"]


async def test_every_custom_id_gets_an_answer(
    cleo: Chat, bot: RunningBot, local: LocalInstallation
) -> None:
    ids = [
        "gone",
        "gone:annika",
        "cancel:",
        "cancel:UPPER",
        "explode:annika",
        "ds:no-such-thing:annika@1:12345678",
        "ds:remove:annika@1",
        "start:not-a-number",
    ]
    buttons = [discord.ui.Button[discord.ui.View](label=one, custom_id=one) for one in ids]
    message = await forged(bot, cleo, *buttons)

    answers = await asyncio.gather(*(press(cleo, message, one) for one in ids))

    assert {("older version" in one.text, one.ephemeral) for one in answers} == {(True, True)}
    assert local.guilds() == []


async def test_a_removed_command_is_answered(cleo: Chat, bot: RunningBot) -> None:
    bot.client.tree.remove_command("models")

    answer = await cleo.ask("models")

    assert "has changed since" in answer.text
    assert answer.ephemeral


def test_every_command_states_where_it_works(bot: RunningBot) -> None:
    tree = bot.client.tree
    found = {one.name: one.to_dict(tree) for one in tree.get_commands()}

    assert [name for name, one in found.items() if one["contexts"] != [0]] == []
    assert [name for name, one in found.items() if one["integration_types"] != [0]] == []
    hidden = [name for name, one in found.items() if one.get("default_member_permissions")]
    assert hidden == ["settings"]


async def test_what_is_removed_comes_back_for_whoever_has_the_right(
    ada: Chat,
    ben: Chat,
    cleo: Chat,
    local: LocalInstallation,
    archive: Path,
    tmp_path: Path,
) -> None:
    file = write_adapter(tmp_path / "old.safetensors", tensors(widths(T2V)))
    (tmp_path / "other").mkdir()
    other = write_adapter(tmp_path / "other" / "old.safetensors", tensors(widths(T2V), rank=8))
    await ben.ask("checkpoint add", file=file, model=T2V)
    await ben.ask("dataset add", name="annika", zip=archive)
    await ben.ask("train", model=T2V, dataset="annika", name="mine", epochs="2")
    await ben.ask("cancel", run_name="mine")
    await ben.card("mine", lambda m: "Resume" in m.buttons)
    guild = local.guilds()[0]

    run = await ben.ask("run remove", run_name="mine")
    lora = await ben.ask("checkpoint remove", name="old")
    question = await ben.ask("dataset remove", name="annika")
    dataset = await press(ben, question, "Remove every version")
    names = await cleo.user.autocomplete("dataset restore", "name", "ann")
    refused = [
        *[(await press(cleo, one, "Undo")).text for one in (run, lora, dataset)],
        await cleo.refused("run restore", run_name="mine"),
        await cleo.refused("checkpoint restore", name="old"),
        await cleo.refused("dataset restore", name="annika"),
        await cleo.refused("checkpoint add", file=other, model=T2V),
        await cleo.refused("dataset add", name="annika", zip=archive),
    ]
    status = await cleo.refused("status", run_name="mine")
    listed = (await ben.ask("runs")).text
    undone = await press(ben, run, "Undo")
    again = await press(ben, run, "Undo")
    back = [
        (await ben.ask("checkpoint restore", name="old")).text,
        (await ada.ask("dataset restore", name="annika")).text,
    ]

    assert "/run restore run-name:mine" in run.text
    assert [choice.value for choice in names] == ["annika@1"]
    assert [text for text in refused if REFUSED not in text] == []
    assert "mine was removed on" in status
    assert "mine, until" in listed
    assert "mine is back." in undone.text
    assert "already been restored" in again.text
    assert ["old is back." in back[0], "annika@1 is back." in back[1]] == [True, True]
    assert local.runs.names(guild) == ["mine"]
    assert local.loras.find(guild, "old").rank == 4
    assert local.datasets.names(guild) == ["annika"]


async def test_a_command_and_a_button_restore_alike(
    ada: Chat, local: LocalInstallation, server: SandboxServer, tmp_path: Path
) -> None:
    add_trained_run(local, place_of(server), "mine", b"", ev.RunSucceeded(at=datetime.now(UTC)))
    file = write_adapter(tmp_path / "old.safetensors", tensors(widths(T2V)))
    await ada.ask("checkpoint add", file=file, model=T2V)

    await ada.ask("run remove", run_name="mine")
    removed = await ada.ask("checkpoint remove", name="old")
    restored = [await ada.ask("run restore", run_name="mine"), await press(ada, removed, "Undo")]

    assert [one.text for one in restored] == ["Restored\nmine is back.", "Restored\nold is back."]
    guild = place_of(server).guild
    assert (local.runs.names(guild), local.loras.names(guild)) == (["mine"], ["old"])


async def test_an_undo_button_works_in_its_own_server_only(
    ben: Chat, cleo_elsewhere: Chat, bot: RunningBot, local: LocalInstallation, archive: Path
) -> None:
    await ben.ask("dataset add", name="annika", zip=archive)
    guild = local.guilds()[0]
    question = await ben.ask("dataset remove", name="annika@1")
    removed = await press(ben, question, "Remove it")
    stolen = str(removed.buttons["Undo"]["custom_id"])
    made_up = "restore:datasets:000000000000-00000000"
    buttons = [discord.ui.Button[discord.ui.View](label=i, custom_id=i) for i in (stolen, made_up)]
    message = await forged(bot, cleo_elsewhere, *buttons)

    answers = [(await press(cleo_elsewhere, message, one)).text for one in (stolen, made_up)]

    assert "nothing left to restore here" in answers[0]
    assert "could be restored until 1970" in answers[1]
    assert local.datasets.names(guild) == []
