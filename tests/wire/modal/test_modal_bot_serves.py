"""The deployed bot at work: commands, downloads, notices, the watchdog, and a second copy of it."""

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import httpx
import pytest
import pytest_asyncio

from bot.hosting.bot import running_bot
from bot.sandbox.client.models import Message
from bot.sandbox.connect import point_discord_at
from tests.wire.bot.chat import Chat
from tests.wire.modal.hosting import Hosting, hosting, person
from training import store_keys
from training.operations.clean_up import CleanUp, Freed
from training.operations.notices import announce
from training.runs import events as ev
from training.runs.training_events import CheckpointSaved
from training.store_keys import RunKeys
from training.vocabulary import StageKey

pytestmark = pytest.mark.asyncio(loop_scope="module")
TRAIN = StageKey("train", "main")
FILE = "checkpoints/main/mine-e1.safetensors"
CONTENT = bytes(range(256)) * 64


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hosted(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Hosting]:
    async with hosting(tmp_path_factory.mktemp("hosted")) as found:
        # The bot looks for notices when it becomes active, and then once a minute.
        await asyncio.to_thread(leave_notice, found)
        await asyncio.to_thread(found.start)
        yield found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ada(hosted: Hosting) -> AsyncIterator[Chat]:
    async with person(hosted.server) as user:
        yield user


async def test_commands_are_answered_and_the_public_address_says_that_all_is_well(
    hosted: Hosting, ada: Chat
) -> None:
    answer = await ada.ask("models")
    async with httpx.AsyncClient(base_url=hosted.loopback.public_url("Bot")) as http:
        health = await http.get("/health")
        remote_advance = await http.get("/")

    assert "wan22-i2v-lightning" in answer.text
    assert (health.status_code, health.json()) == (200, {"status": "ok"})
    assert remote_advance.status_code == 404


async def test_a_checkpoint_is_downloaded_by_a_signed_link_in_parts(
    hosted: Hosting, ada: Chat
) -> None:
    await asyncio.to_thread(add_trained_run, hosted, "mine")

    answer = await ada.ask("download", run_name="mine")
    links = [url for url in re.findall(r"\((http[^)]*)\)", answer.text) if "/d/" in url]
    async with httpx.AsyncClient() as http:
        whole = await http.get(links[0])
        part = await http.get(links[0], headers={"Range": "bytes=256-511"})
        forged = await http.get(links[0].replace("/d/", "/d/x"))

    assert links[0].startswith(hosted.loopback.public_url("Bot"))
    assert (whole.status_code, whole.content) == (200, CONTENT)
    assert (part.status_code, part.content) == (206, CONTENT[256:512])
    assert part.headers["Content-Range"] == f"bytes 256-511/{len(CONTENT)}"
    assert forged.status_code == 403


async def test_the_watchdog_is_content_with_a_bot_that_answers(hosted: Hosting) -> None:
    outcome, printed = await asyncio.to_thread(hosted.watch)

    assert outcome == "success", printed


async def test_what_a_cleaning_freed_is_told_once_in_the_channel_of_the_newest_run(
    hosted: Hosting, ada: Chat
) -> None:
    told = await ada.user.wait_for(is_notice)
    await until_no_notice_is_left(hosted)

    assert "3 cache files of this server, 2.5 GB" in told.text
    assert told.channel_id == hosted.channel
    assert len([one for one in await ada.user.messages() if is_notice(one)]) == 1


async def test_of_the_deployed_copy_and_another_one_is_active(hosted: Hosting, ada: Chat) -> None:
    with point_discord_at(hosted.server.base_url):
        token = hosted.server.bot_token
        async with running_bot(hosted.runtime, token=token, engine="rehearsal") as another:
            was_active = another.is_active
            sessions = len(hosted.server.gateway.sessions)
            answers = [await ada.ask("models") for _ in range(3)]
            (container,) = hosted.bots()

    assert sessions == 2
    assert not was_active
    assert len(answers) == 3
    assert container.text.count("this copy of the bot is active") == 1
    assert "no longer active" not in container.text


def leave_notice(hosted: Hosting) -> None:
    hosted.add_run("cleaned")
    freed = {hosted.guild: Freed(files=3, size_bytes=2_500_000_000)}
    announce(hosted.runtime.runtime, CleanUp(caches=freed, merged=Freed(), unfinished_bytes=0))


async def until_no_notice_is_left(hosted: Hosting) -> None:
    async with asyncio.timeout(20):
        while await asyncio.to_thread(hosted.runtime.runtime.store.names, store_keys.NOTICES):  # noqa: ASYNC110
            await asyncio.sleep(0.1)  # a Volume tells nobody of what is removed


def add_trained_run(hosted: Hosting, name: str) -> None:
    at = datetime.now(UTC)
    saved = ev.StageEvent(
        at=at,
        key=TRAIN,
        attempt=1,
        body=CheckpointSaved(path=FILE, epoch=1, step=10, size_bytes=len(CONTENT), is_final=True),
    )
    hosted.add_run(name, saved)
    hosted.runtime.runtime.store.write(f"{RunKeys(hosted.guild, name).folder}/{FILE}", CONTENT)


def is_notice(message: Message) -> bool:
    return any(embed.get("title") == "Cleaned up" for embed in message.embeds)
