"""`/help` and lists in chat: runs, and what takes up space. Nothing trains here."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from bot.hosting.local import LocalInstallation
from bot.sandbox.client import Message
from bot.sandbox.server import SandboxServer
from tests.many_runs import Crowd
from tests.wire.bot.added_runs import add_run, add_trained_run, place_of
from tests.wire.bot.chat import Chat
from tests.wire.bot.stored import press
from training.errors import NotFoundError
from training.registry.dataset_draft import Upload
from training.store_keys import RunKeys, cached


async def test_runs_are_listed_by_pages_that_keep_their_filter(
    ada: Chat, local: LocalInstallation, server: SandboxServer
) -> None:
    place = place_of(server)
    for number in range(25):
        owner = place.owner if number % 2 else "1"
        Crowd(local.home, place.guild, owner).add_ended(number, place.channel)

    first = await ada.ask("runs")
    second = await press(ada, first, "Next")
    last = await press(ada, second, "Next")
    back = await press(ada, last, "Previous")
    mine = await ada.ask("runs", mine=True, state="succeeded", model="wan21-t2v-1-3b")
    rest = await press(ada, mine, "Next")
    none = await ada.ask("runs", state="failed")

    assert "25 runs" in first.text
    assert "ended-24" in first.text
    assert "Page 1 of 3" in first.text
    assert "**ended-14**" in second.text
    assert "**ended-4**" in last.text
    assert "**ended-14**" in back.text
    assert "12 runs: succeeded, of wan21-t2v-1-3b, yours" in mine.text
    assert "**ended-22**" not in mine.text
    assert "**ended-1**" in rest.text
    assert "Page 2 of 2" in rest.text
    assert "No run is failed." in none.text
    assert list(none.buttons) == []


async def test_help_shows_a_first_run_to_members_without_rights(
    ben: Chat, local: LocalInstallation, server: SandboxServer, archive: Path
) -> None:
    place = place_of(server)
    upload = Upload(archive=archive, by=place.owner, file_name="berlin.zip")
    local.datasets.add(place.guild, "berlin", upload)
    ben_id = next(one["id"] for one in server.world.users.values() if one["global_name"] == "Ben")
    add_trained_run(local, replace(place, owner=ben_id), "ben-1", b"weights")

    start = await ben.ask("help")
    uploading = await press(ben, start, "1. Upload a dataset")
    training = await press(ben, uploading, "2. Train")
    downloading = await press(ben, training, "3. Download")
    links = await press(ben, downloading, "Download")
    again = await press(ben, downloading, "Overview")

    assert start.ephemeral
    assert list(start.buttons) == ["1. Upload a dataset", "2. Train", "3. Download"]
    assert "`/dataset add name:annika trigger:ann1ka zip:`" in uploading.text
    assert "`/train model:wan21-t2v-1-3b dataset:berlin`" in training.text
    assert "tiny stand-in model" in training.text
    assert "`/download run-name:ben-1`" in downloading.text
    assert again.text == start.text
    assert "ben-1: 1 checkpoint" in links.text


@pytest.mark.usefixtures("no_worker")
async def test_what_takes_up_space_is_removed_by_those_with_rights(
    ada: Chat, ben: Chat, local: LocalInstallation, server: SandboxServer
) -> None:
    place = place_of(server)
    for number in range(12):
        Crowd(local.home, place.guild, place.owner).add_ended(number, place.channel)
    add_run(local, place, "busy")
    store = local.runtime.store
    store.write(cached(place.guild, "latents", "c" * 64), bytes(1 << 20))
    store.write(f"{RunKeys(place.guild, 'ended-1').checkpoints('main')}/a", bytes(1 << 21))

    shown = await ben.ask("storage")
    more = await press(ben, shown, "Next")
    first = await press(ben, more, "Previous")
    refused = [await choose(ben, first, key) for key in ("run:ended-1", "caches:all")]
    others = await choose(ada, await ada.ask("storage"), "run:ended-1")
    removed = await press(ada, others, "Remove it")
    busy = await choose(ada, await ada.ask("storage"), "caches:all")
    ben_empties = await press(ben, await ben.ask("storage"), "Empty now")
    asked = await press(ada, await ada.ask("storage"), "Empty now")
    emptied = await press(ada, asked, "Delete for good")

    assert "**Caches** · latents and texts\n1.0 MiB" in shown.text
    assert "Page 2 of 2" in more.text
    assert "run ended-1 belongs to somebody else" in refused[0].text
    assert "can delete the caches" in refused[1].text
    assert "Remove ended-1?" in others.text
    assert "when it leaves the trash" in others.text
    assert removed.id == others.id
    assert "Removed ended-1" in removed.text
    assert list(removed.buttons) == ["Undo"]
    assert "The run busy is in progress" in busy.text
    assert "can empty the trash" in ben_empties.text
    assert "can no longer be restored" in asked.text
    assert "freed." in emptied.text
    assert "ended-1" not in local.runs.names(place.guild)
    assert "In the trash" not in (await ada.ask("storage")).text
    assert "No run called" in await ada.refused("run restore", run_name="ended-1")


async def test_links_to_a_run_are_revoked_by_its_owner(
    ada: Chat, ben: Chat, local: LocalInstallation, server: SandboxServer
) -> None:
    add_trained_run(local, place_of(server), "mine", b"weights")
    given = await ada.ask("download", run_name="mine")
    (url,) = re.findall(r"\[mine-e1.safetensors\]\((http\S+)\)", given.text)
    assert await ada.user.download(url) == b"weights"

    others = await ben.ask("download", run_name="mine")
    refused = await press(ben, others, "Revoke links")
    revoked = await press(ada, given, "Revoke links")

    assert "belongs to somebody else" in refused.text
    assert "mine" in revoked.text
    with pytest.raises(NotFoundError):
        await ada.user.download(url)


async def choose(chat: Chat, message: Message, key: str) -> Message:
    """Choose an item in the menu of `/storage`."""
    (menu,) = message.selects
    return await chat.user.reply(await chat.user.select(message, menu, [key]))
