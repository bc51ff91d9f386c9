"""The deployed bot at work: commands, downloads, notices, the watchdog, and a second copy of it."""

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pytest
import pytest_asyncio

from bot.cli.datasets.sending import Sender, terminal_link
from bot.cli.home import ServerHome
from bot.hosting.bot import running_bot
from bot.sandbox.client import Message
from bot.sandbox.connect import point_discord_at
from tests.wire.bot.chat import Chat
from tests.wire.modal.hosting import Hosting, hosting, person
from tests.wire.modal.loopback.api import PATIENCE_SECONDS
from training import store_keys
from training.backends.modal.functions import start_due
from training.operations.clean_up import CleanUp, Freed, announce
from training.registry.uploads.session import DatasetTarget

pytestmark = pytest.mark.asyncio(loop_scope="module")
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


async def test_commands_are_answered_and_the_health_check_passes(
    hosted: Hosting, ada: Chat
) -> None:
    answer = await ada.ask("models")
    async with httpx.AsyncClient(base_url=hosted.loopback.public_url("Bot")) as http:
        health = await http.get("/health")
        remote_advance = await http.get("/")

    assert "wan22-i2v-lightning" in answer.text
    assert (health.status_code, health.json()) == (200, {"status": "ok"})
    assert remote_advance.status_code == 404


async def test_the_upload_page_comes_with_every_file_that_it_loads(hosted: Hosting) -> None:
    async with httpx.AsyncClient(base_url=hosted.loopback.public_url("Bot")) as http:
        page = await http.get("/upload")
        waiting, loaded = _loads(page), dict[str, int]()
        while waiting:
            path = waiting.pop()
            if path not in loaded:
                answer = await http.get(path)
                loaded[path] = answer.status_code
                waiting |= _loads(answer)

    assert page.status_code == 200
    assert len(loaded) > 5
    assert set(loaded.values()) == {200}


def _loads(answer: httpx.Response) -> set[str]:
    """Return the paths of the scripts and styles that a page or script loads."""
    paths = re.findall(r'(?:src=|href=|from )"([./][^"]*)"', answer.text)
    return {urljoin(str(answer.url), path) for path in paths}


async def test_a_checkpoint_is_downloaded_by_a_signed_link_in_parts(
    hosted: Hosting, ada: Chat
) -> None:
    await asyncio.to_thread(hosted.add_trained_run, "mine", CONTENT)

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


async def test_the_watchdog_passes_for_a_bot_that_answers(hosted: Hosting) -> None:
    outcome, printed = await asyncio.to_thread(hosted.watch)

    assert outcome == "success", printed


async def test_two_ticks_start_the_watchdog_once_and_log_a_missing_function(
    hosted: Hosting, caplog: pytest.LogCaptureFixture
) -> None:
    calls, at = hosted.loopback.plane.calls.calls, datetime(2026, 11, 29, 3, 17, tzinfo=UTC)
    claim, before = hosted.runtime.claims.claim, set(calls)

    for _ in range(2):
        await asyncio.to_thread(start_due, hosted.deployment, at, claim)

    (watch,) = set(calls) - before
    await asyncio.to_thread(hosted.loopback.wait_for, lambda: calls[watch].finished_at is not None)
    (attempt,) = [its for its in hosted.loopback.journal if its.call_id == watch]
    assert (attempt.function, attempt.outcome) == ("watch", "success")
    assert "clean_up could not be started" in caplog.text  # the stages are not deployed here


async def test_a_clean_up_is_announced_once_in_the_channel_of_the_newest_run(
    hosted: Hosting, ada: Chat
) -> None:
    told = await ada.user.wait_for(is_notice)
    await until_no_notice_is_left(hosted)

    assert "3 cache files of this server, 2.3 GiB" in told.text
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


async def test_a_zip_sent_from_a_terminal_outlives_the_container_and_becomes_a_dataset(
    hosted: Hosting, archive: Path
) -> None:
    (container,) = hosted.bots()
    home = ServerHome(server=hosted.guild, backend="modal", app=hosted.deployment.name)
    target = DatasetTarget(name="sent")
    link = await asyncio.to_thread(terminal_link, hosted.runtime, hosted.guild, target)
    with Sender(await asyncio.to_thread(home.bot_address), link) as sender:
        await asyncio.to_thread(sender.send, [archive])

    hosted.loopback.preempt(container)
    await asyncio.to_thread(hosted.wait_until_it_serves, except_for=(container,))
    told: list[int] = []
    with Sender(await asyncio.to_thread(home.bot_address), link) as sender:
        await asyncio.to_thread(sender.send, [archive], told.append)
        await asyncio.to_thread(sender.finish)

    sent = await asyncio.to_thread(archive.read_bytes)
    assert told == [len(sent)]  # nothing was sent again
    original = await asyncio.to_thread(
        hosted.runtime.runtime.store.read, f"guilds/{hosted.guild}/datasets/sent/1/original.zip"
    )
    assert original == sent


def leave_notice(hosted: Hosting) -> None:
    hosted.add_run("cleaned")
    freed = {hosted.guild: Freed(files=3, size_bytes=2_500_000_000)}
    found = CleanUp(trash={}, caches=freed, merged=Freed(), unfinished_bytes=0)
    announce(hosted.runtime.runtime, found)


async def until_no_notice_is_left(hosted: Hosting) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await asyncio.to_thread(hosted.runtime.runtime.store.names, store_keys.NOTICES):  # noqa: ASYNC110
            await asyncio.sleep(0.1)  # a Volume announces no removals


def is_notice(message: Message) -> bool:
    return any(embed.get("title") == "Cleaned up" for embed in message.embeds)
