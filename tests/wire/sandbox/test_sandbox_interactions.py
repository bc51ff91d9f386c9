"""The unmodified discord.py against the sandbox: commands, buttons, dialogs, files, threads."""

import asyncio
from pathlib import Path

import discord
import pytest
from sandbox_bot import TinyBot, running_bot

from bot.sandbox.client import NoResponseError, SandboxUser
from bot.sandbox.server import SandboxServer
from training.errors import NotFoundError, RequestError


async def test_a_command_is_answered_for_all_to_see(
    bot: TinyBot, ada: SandboxUser, ben: SandboxUser
) -> None:
    interaction = await ada.command("ping")

    reply = await ada.reply(interaction)

    assert (reply.content, reply.author, reply.ephemeral) == ("pong Ada", "LoRA Bot", False)
    assert [message.content for message in await ben.messages()] == ["pong Ada"]


async def test_a_deferred_answer_is_filled_by_the_follow_up(bot: TinyBot, ada: SandboxUser) -> None:
    interaction = await ada.command("train", {"model": "Wan 2.2", "dataset": "set-01"})

    assert interaction.status == "deferred"
    reply = await ada.reply(interaction)
    assert reply.embeds[0]["title"] == "wan22 on set-01"
    assert len(await ada.messages()) == 1


async def test_an_ephemeral_answer_is_seen_by_one_person_only(
    bot: TinyBot, ada: SandboxUser, ben: SandboxUser
) -> None:
    reply = await ada.reply(await ada.command("whisper"))

    assert reply.content == "psst"
    assert reply.ephemeral
    assert await ben.messages() == []


async def test_suggestions_follow_what_is_typed_and_are_at_most_25(
    bot: TinyBot, ada: SandboxUser
) -> None:
    assert len(await ada.autocomplete("train", "dataset", "")) == 25

    found = await ada.autocomplete("train", "dataset", "2", {"model": "wan22"})

    assert [choice.value for choice in found][:2] == ["set-02", "set-12"]


async def test_a_file_travels_up_and_down(bot: TinyBot, ada: SandboxUser, tmp_path: Path) -> None:
    clip = tmp_path / "clip one.txt"
    clip.write_bytes(b"abc")

    reply = await ada.reply(await ada.command("dataset add", {"file": clip}))

    assert reply.content == "clip_one.txt 3"
    assert await ada.download(reply.attachments[0]) == b"cba"


async def test_a_button_works_after_the_bot_was_restarted(
    server: SandboxServer, ada: SandboxUser
) -> None:
    async with running_bot(server):
        options = {"model": "wan21", "dataset": "x", "run-name": "fox"}
        card = await ada.reply(await ada.command("train", options))

    async with running_bot(server):
        pressed = await ada.press(card, "Cancel")
        changed = await ada.reply(pressed)

    assert (changed.id, changed.content) == (card.id, "fox cancelled")
    assert changed.components == []
    with pytest.raises(NotFoundError, match="no such button"):
        await ada.press(changed, "Cancel")


async def test_a_dialog_takes_text_choice_and_files(
    bot: TinyBot, ada: SandboxUser, tmp_path: Path
) -> None:
    file = tmp_path / "a.zip"
    file.write_bytes(b"12345")

    opened = await ada.command("dataset new")
    assert opened.modal is not None
    with pytest.raises(RequestError, match="characters"):
        await ada.submit(opened.modal, {"Name": "x", "Kind": "clips", "Files": file})
    sent = await ada.submit(opened.modal, {"Name": "fox", "Kind": "clips", "Files": [file]})

    assert (await ada.reply(sent)).content == "fox clips [5]"


async def test_a_message_command_gets_the_message_and_its_files(
    bot: TinyBot, ada: SandboxUser, tmp_path: Path
) -> None:
    file = tmp_path / "set.zip"
    file.write_bytes(b"zip")
    message = await ada.post("my clips", [file])

    reply = await ada.reply(await ada.context("Use as dataset", message))

    assert reply.content == "my clips: ['set.zip']"


async def test_a_run_gets_a_thread_and_its_card_is_edited(bot: TinyBot, ada: SandboxUser) -> None:
    card = await ada.reply(await ada.command("thread"))

    edited = await ada.wait_for(lambda m: m.id == card.id and m.edited is not None, 60)

    assert edited.content == "card, step 2"
    assert edited.thread_id == card.id
    inside = await ada.messages(thread="run1 · steps")
    assert inside[-1].content.startswith("hello <@")
    assert inside[-1].mentions == []  # the bot allows no pings


async def test_a_command_without_an_answer_fails_after_three_seconds(
    bot: TinyBot, ada: SandboxUser, server: SandboxServer
) -> None:
    interaction = await ada.command("slow")
    bot.hold.set()

    with pytest.raises(NoResponseError):
        await ada.reply(interaction)
    error = await asyncio.wait_for(bot.errors.get(), 60)
    assert isinstance(error, discord.NotFound)
    assert error.code == 10062


async def test_without_a_bot_nothing_responds(server: SandboxServer, ada: SandboxUser) -> None:
    async with running_bot(server):
        pass

    interaction = await ada.command("ping")

    assert interaction.status == "failed"


async def test_an_interaction_delivered_twice_is_answered_once(
    bot: TinyBot, ada: SandboxUser, server: SandboxServer
) -> None:
    server.faults.duplicates += 1

    await ada.command("ping")

    error = await asyncio.wait_for(bot.errors.get(), 60)
    assert isinstance(error, discord.HTTPException)
    assert error.code == 40060
    assert len(await ada.messages()) == 1


@pytest.mark.parametrize(
    ("name", "options", "cause"),
    [
        ("nothing", {}, "no command"),
        ("dataset", {}, "is a group"),
        ("train", {"dataset": "x"}, "'model' is required"),
        ("train", {"model": "wan3", "dataset": "x"}, "not offered"),
        ("train", {"model": "wan21", "dataset": "x", "epochs": 101}, "out of range"),
        ("train", {"model": "wan21", "dataset": "x", "epochs": "many"}, "not a number"),
        ("train", {"model": "wan21", "dataset": "x", "colour": "red"}, "no option 'colour'"),
        ("dataset add", {"file": "text"}, "needs a file"),
    ],
)
async def test_a_client_refuses_what_the_command_does_not_take(
    bot: TinyBot, ada: SandboxUser, name: str, options: dict[str, str | int], cause: str
) -> None:
    with pytest.raises((RequestError, NotFoundError), match=cause):
        await ada.command(name, options)
    assert await ada.messages() == []


async def test_a_file_over_ten_mebibytes_is_refused(
    bot: TinyBot, ada: SandboxUser, tmp_path: Path
) -> None:
    file = tmp_path / "big.bin"
    file.write_bytes(bytes(10 * 1024 * 1024 + 1))

    with pytest.raises(RequestError, match="too powerful"):
        await ada.command("dataset add", {"file": file})
