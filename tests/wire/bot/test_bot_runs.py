"""Runs through chat: the card, its buttons, the ping, the links, restarts and repeats."""

import hashlib
import io
import os
import re
import signal
import zipfile
from pathlib import Path

import httpx
import pytest

from bot.hosting.bot import RunningBot
from bot.hosting.local import LocalInstallation
from bot.sandbox.client import Message, SandboxUser
from bot.sandbox.server import SandboxServer
from bot.sandbox.world.components import MEDIA_GALLERY, walk
from tests.wire.bot.chat import Chat, is_card
from tests.wire.bot.processes import SLOW, bot_process

T2V = "wan21-t2v-1-3b"


def is_training(message: Message) -> bool:
    return "step" in message.text and "loss" in message.text


def has_succeeded(message: Message) -> bool:
    return "succeeded" in message.text


def links(message: Message) -> list[str]:
    return re.findall(r"\((http[^)]*)\)", message.text)


def file_name(link: str) -> str:
    """Return the name of the file behind a link; the rest differs from second to second."""
    return link.rsplit("/", 1)[-1]


async def names(chat: Chat, command: str) -> list[str]:
    """Return the names of runs that a command offers, newest first."""
    return [str(one.value) for one in await chat.user.autocomplete(command, "run-name", "")]


async def pick(chat: Chat, message: Message, epoch: str) -> Message:
    """Pick an epoch in the menu below the answer to `/download`."""
    (menu,) = message.selects
    return await chat.user.reply(await chat.user.select(message, menu, [epoch]))


async def expect_one_card_and_ping(chat: Chat) -> None:
    public = [m for m in await chat.user.messages() if is_card(m, "mine")]
    assert len(public) == 1
    pings = [m for m in await chat.user.messages() if m.mentions and " mine " in m.content]
    assert len(pings) == 1


async def expect_thread(chat: Chat, card: Message) -> None:
    """Expect the milestones of a run with two epochs in the thread below its card."""
    end = await chat.told(card, "Succeeded")
    thread = await chat.user.messages(thread=card.id)
    (sheet,) = [m for m in thread if m.title == "Dataset annika@1"]
    (shown,) = [c for _, c in walk(sheet.components, "") if c["type"] == MEDIA_GALLERY]
    picture = "Contact sheet: 2 images and 1 clip, with captions."
    assert shown["items"][0]["description"].startswith(picture)
    told = [m for m in thread if m.title.startswith("Saved: ")]
    saved = [link for m in told for link in links(m)]
    assert len({file_name(link) for link in saved}) == len(saved) == 2
    assert sum(m.text.count(" modules load") for m in told) == 2
    assert list(end.buttons) == list(card.buttons)
    (drawn,) = [c for _, c in walk(end.components, "") if c["type"] == MEDIA_GALLERY]
    assert "moothed loss" in drawn["items"][0]["description"]
    assert not any(m.mentions for m in thread)


async def test_a_team_trains_and_downloads(ada: Chat, ben: Chat, archive: Path) -> None:
    await ada.ask("dataset add", name="annika", zip=archive)

    await ada.ask("train", model=T2V, dataset="annika", epochs="2", save_every="1", name="mine")
    ping = await ada.ping("mine")
    card = await ben.card("mine", lambda m: "succeeded" in m.text)
    answer = await ada.ask("download", run_name="mine")

    assert (ping.mentions, card.mentions) == (["Ada"], [])
    assert ping.raw["mention_roles"]
    assert "Use it in ComfyUI" in card.text
    assert "Rehearsal" in card.text
    assert list(card.buttons) == ["Details", "Log", "Download", "Train again"]
    details = await ben.user.reply(await ben.user.press(card, "Details"))
    assert "rank 16" in details.text
    assert f"Started by <@{ping.raw['mentions'][0]['id']}>" in details.text
    logs = await ben.user.reply(await ben.user.press(card, "Log"))
    assert [a.filename for a in logs.attachments] == ["train-main-1.txt"]
    everything, newest = links(answer)
    assert file_name(newest) == file_name(links(await pick(ada, answer, "2"))[0])
    earlier = await pick(ada, answer, "1")
    files = [newest, *links(earlier)]
    assert len(files) == 2
    assert re.search(r"000001.*loss \d", earlier.text)
    # What is small enough comes along.
    assert [a.filename for a in earlier.attachments] == ["mine-000001.safetensors"]
    assert [a.filename for a in answer.attachments] == ["mine-comfyui.json", "mine.safetensors"]
    with zipfile.ZipFile(io.BytesIO(await ada.user.download(everything))) as found:
        inside = {Path(n).name: found.read(n) for n in found.namelist() if n.endswith("tensors")}
    assert inside == {file_name(url): await ada.user.download(url) for url in files}
    pressed = await ben.user.reply(await ben.user.press(card, "Download"))
    assert len(links(pressed)) == 2
    (chart,) = [c for _, c in walk(card.components, "") if c["type"] == MEDIA_GALLERY]
    picture = await ada.user.download(str(chart["items"][0]["media"]["url"]))
    assert picture.startswith(b"\x89PNG")
    await expect_one_card_and_ping(ada)
    await expect_thread(ben, card)


@pytest.mark.slow
async def test_both_experts_are_on_one_card_and_merged_bases_are_reused(
    ada: Chat, archive: Path
) -> None:
    await ada.ask("dataset add", name="annika", zip=archive)
    options = {"model": "wan22-i2v-lightning", "dataset": "annika", "epochs": "1"}

    await ada.ask("train", **options, name="one")
    await ada.ping("one")
    await ada.ask("train", **options, name="two")
    await ada.ping("two")
    first, second = await ada.card("one", has_succeeded), await ada.card("two", has_succeeded)

    for card in (first, second):
        assert "Merge Lightning, high" in card.text
        assert "two-low.safetensors" in second.text
        assert "high LoRA on the high-noise model" in card.text
    merges = [line for line in second.text.splitlines() if "Merge" in line]
    assert all("reused" in line or "there already" in line for line in merges), merges


@pytest.mark.slow
async def test_lists_show_status_and_removal(ada: Chat, archive: Path) -> None:
    await ada.ask("dataset add", name="annika", zip=archive)
    await ada.ask("train", model=T2V, dataset="annika", epochs="1", name="mine")
    await ada.ping("mine")

    assert "annika" in (await ada.ask("dataset list")).text
    shown = await ada.ask("dataset show", name="annika")
    assert shown.attachments
    assert "wan22-i2v-lightning" in (await ada.ask("models")).text
    assert "mine" in (await ada.ask("runs")).text
    status = await ada.ask("status")
    (chart,) = [c for _, c in walk(status.components, "") if c["type"] == MEDIA_GALLERY]
    assert "Smoothed loss" in str(chart["items"][0]["description"])
    assert "rank 16" in status.text
    assert "succeeded" in status.text
    (log,) = status.attachments
    assert log.filename == "train-main-1.txt"
    assert "model saved" in (await ada.user.download(log.url)).decode()
    completed = await ada.user.autocomplete("train", "dataset", "ann", {"model": T2V})
    setting = await ada.user.autocomplete("train", "settings", "fp8=y", {"model": T2V})
    assert [choice.value for choice in completed] == ["annika"]
    assert [choice.value for choice in setting] == ["fp8=yes"]
    names = await ada.user.autocomplete("download", "run-name", "mi")
    assert [choice.value for choice in names] == ["mine"]
    question = await ada.ask("dataset remove", name="annika")
    assert "Runs trained on it\n**mine**" in question.text
    assert "annika" in (await ada.ask("dataset list")).text
    await ada.user.reply(await ada.user.press(question, "Remove every version"))
    assert "annika was removed on" in await ada.refused("dataset show", name="annika")
    assert links(await ada.ask("download", run_name="mine"))


async def test_a_zip_attached_to_a_message_can_be_used_as_dataset(
    ada: Chat, bot: RunningBot, local: LocalInstallation, archive: Path
) -> None:
    message = await ada.user.post("our new set", [archive])

    answer = await ada.user.reply(await ada.user.context("Use as dataset", message))

    assert "annika@1" in answer.text
    assert any(local.datasets.names(guild) == ["annika"] for guild in local.guilds())


async def test_a_queued_run_shows_its_position_and_can_be_cancelled(
    ada: Chat, ben: Chat, archive: Path, local: LocalInstallation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SLOW, "0.5")
    await ada.ask("dataset add", name="annika", zip=archive)
    for name in ("a", "b", "c"):
        await ada.ask("train", model=T2V, dataset="annika", name=name)
    waiting = await ada.card("c", lambda m: "position" in m.text)

    refused = await ben.user.reply(await ben.user.press(waiting, "Cancel"))
    await ada.user.reply(await ada.user.press(waiting, "Cancel"))
    ping = await ada.ping("c")

    assert "belongs to somebody else" in refused.text
    assert "cancelled" in ping.content
    guild = local.guilds()[0]
    assert await names(ada, "cancel") == ["b", "a"]
    assert await names(ada, "resume") == ["c"]
    assert await names(ada, "download") == ["c", "b", "a"]
    assert "c: cancelled" in (await ada.ask("status", run_name=" C ")).text
    assert not local.runs.view(guild, "a").run.status.is_final
    for name in ("a", "b"):
        await ada.ask("cancel", run_name=name)
        await ada.ping(name)


@pytest.mark.slow
async def test_the_same_interaction_delivered_twice_is_one_run(
    ada: Chat, server: SandboxServer, local: LocalInstallation, archive: Path
) -> None:
    await ada.ask("dataset add", name="annika", zip=archive)
    server.faults.duplicates += 1

    await ada.ask("train", model=T2V, dataset="annika", epochs="1")
    await ada.ping(f"annika-{T2V}")

    guild = local.guilds()[0]
    assert local.runs.names(guild) == [f"annika-{T2V}"]
    seen = await ada.user.messages()
    assert len([m for m in seen if is_card(m, f"annika-{T2V}")]) == 1
    assert not [m for m in seen if "went wrong" in m.text]


async def test_nothing_is_visible_from_another_server(
    ada: Chat, cleo_elsewhere: Chat, archive: Path
) -> None:
    cleo = cleo_elsewhere
    await ada.ask("dataset add", name="annika", zip=archive)
    await ada.ask("train", model=T2V, dataset="annika", epochs="1", name="mine")
    await ada.ping("mine")

    assert "no dataset called" in await cleo.refused("train", model=T2V, dataset="annika")
    assert "no run called" in await cleo.refused("download", run_name="mine")
    assert "no run called" in await cleo.refused("status", run_name="mine")
    assert "mine" not in (await cleo.ask("runs")).text
    assert await cleo.user.autocomplete("download", "run-name", "") == []
    assert await cleo.user.autocomplete("train", "dataset", "", {"model": T2V}) == []


async def test_the_bot_continues_after_a_lost_connection(
    ada: Chat, server: SandboxServer, archive: Path
) -> None:
    await ada.ask("dataset add", name="annika", zip=archive)

    server.gateway.drop_sockets()
    # As on Discord, a command without a live session fails, and the person tries again.
    while (await ada.user.command("models")).status == "failed":
        pass

    await ada.ask("train", model=T2V, dataset="annika", epochs="1", name="mine")
    assert "succeeded" in (await ada.ping("mine")).content


@pytest.mark.slow
async def test_a_restarted_bot_keeps_the_card_of_a_killed_one(
    server: SandboxServer, tmp_path: Path, archive: Path
) -> None:
    home = tmp_path / "home"
    async with SandboxUser(server.page_url, user="Ada") as user:
        ada = Chat(user)
        async with bot_process(server, home) as bot:
            await ada.ask("dataset add", name="annika", zip=archive)
            await ada.ask(
                "train", model=T2V, dataset="annika", epochs="4", save_every="1", name="mine"
            )
            before = await ada.card("mine", is_training)
            os.kill(bot.pid, signal.SIGKILL)

        async with bot_process(server, home):
            after = await ada.card("mine", has_succeeded)
            ping = await ada.ping("mine")
            found = await ada.ask("download", run_name="mine")
            async with httpx.AsyncClient() as http:
                sizes = [len((await http.get(url)).content) for url in links(found)]

    assert after.id == before.id
    assert after.edited is not None
    assert ping.mentions == ["Ada"]
    all_epochs, newest = sizes
    assert all_epochs > 4 * newest > 0


async def test_a_link_gives_exactly_the_stored_bytes(
    ada: Chat, local: LocalInstallation, archive: Path
) -> None:
    await ada.ask("dataset add", name="annika", zip=archive)
    await ada.ask("train", model=T2V, dataset="annika", epochs="1", name="mine")
    await ada.ping("mine")
    url = links(await ada.ask("download", run_name="mine"))[1]

    data = await ada.user.download(url)

    made = next(local.home.glob("guilds/*/runs/mine/checkpoints/main/mine.safetensors"))
    assert hashlib.sha256(data).digest() == hashlib.sha256(made.read_bytes()).digest()
