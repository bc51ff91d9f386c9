"""Datasets from a link: `/dataset import`, and the token of a server that private ones need."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web

from bot.hosting.bot import RunningBot
from bot.hosting.local import LocalInstallation
from bot.sandbox.client import Message, SandboxUser
from bot.sandbox.server import SandboxServer
from bot.service.imports.imports import ImportOptions
from bot.service.imports.public_web import WebRules
from bot.service.imports.sources import Services
from tests.wire.bot.chat import Chat
from tests.wire.bot.copies import Copies
from tests.wire.bot.stored import versions

HERE = WebRules(schemes=("http",), is_allowed=lambda address: address == "127.0.0.1")
BEGUN = 1000  # bytes that a held answer sends at first, less than any file here has


@dataclass
class FileServer:
    """A server for files on this machine that the bot may reach.

    Attributes:
        held: Paths of which only the beginning is sent until `release` is set.
        ranges: The Range of each request for a held path.
    """

    archive: Path
    url: str = ""
    held: set[str] = field(default_factory=set[str])
    release: asyncio.Event = field(default_factory=asyncio.Event)
    ranges: list[str | None] = field(default_factory=list[str | None])

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Send the archive; paths with "private" in them need a token."""
        is_open = "private" not in request.path
        if not is_open and request.headers.get("Authorization") != "Bearer hf_0123456789":
            return web.Response(status=401)
        if request.path not in self.held or request.method == "HEAD":
            return web.FileResponse(self.archive)
        return await self._hold(request)

    async def _hold(self, request: web.Request) -> web.StreamResponse:
        self.ranges.append(request.headers.get("Range"))
        data, start = (
            await asyncio.to_thread(self.archive.read_bytes),
            request.http_range.start or 0,
        )
        headers = {"ETag": '"1"'}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        response = web.StreamResponse(status=206 if start else 200, headers=headers)
        response.content_length = len(data) - start
        with suppress(ConnectionError):  # who only wants to know the size leaves
            await response.prepare(request)
            await response.write(data[start : start + BEGUN])
            await self.release.wait()
            await response.write(data[start + BEGUN :])
        return response


@pytest.fixture
async def files(archive: Path) -> AsyncIterator[FileServer]:
    found, app = FileServer(archive), web.Application()
    app.router.add_get("/{path:.*}", found.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    found.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield found
    found.release.set()
    await runner.cleanup()


@pytest.fixture
def import_options(files: FileServer) -> ImportOptions:
    plain = Services(drive_pages=frozenset(), dropbox_pages=frozenset(), hub=files.url)
    return ImportOptions(rules=HERE, services=plain)


@pytest.fixture
def hub(files: FileServer) -> str:
    return files.url


def shows_progress(message: Message) -> bool:
    return not message.ephemeral and "Importing annika" in message.text


async def progress(chat: Chat) -> Message:
    """Return the message that shows that the beginning of a held file has arrived."""
    return await chat.user.wait_for(lambda m: shows_progress(m) and "· 1000 bytes of" in m.text)


async def until_no_progress_is_shown(chat: Chat) -> None:
    async with asyncio.timeout(30):
        while any(shows_progress(message) for message in await chat.user.messages()):  # noqa: ASYNC110
            await asyncio.sleep(0.05)  # nothing announces it to this person


async def result(chat: Chat) -> Message:
    return await chat.user.wait_for(
        lambda m: not m.ephemeral and "annika@1" in m.text and "Captions" in m.buttons
    )


async def test_a_zip_is_fetched_from_a_link_and_its_report_appears_in_the_channel(
    ada: Chat, hub: str, local: LocalInstallation
) -> None:
    url = f"{hub}/annika.zip?key=secret"

    answer = await ada.ask("dataset import", url=url, name="annika", trigger="ann1ka")
    message = await result(ada)

    assert answer.ephemeral
    assert "Importing annika" in answer.text
    assert "from 127.0.0.1" in answer.text
    assert "secret" not in answer.text + message.text
    (version,) = versions(local)
    assert version.trigger == "ann1ka"


async def test_a_private_dataset_needs_the_token_that_a_manager_sets(
    ada: Chat, ben: Chat, hub: str
) -> None:
    url = f"{hub}/datasets/ann/private/resolve/main/annika.zip"

    refused = await ada.refused("dataset import", url=url, name="annika")
    settings = await ada.ask("settings")
    dialog = (await ada.user.press(settings, "Hugging Face token")).modal
    assert dialog is not None
    kept = await ada.user.reply(
        await ada.user.submit(
            dialog, {"Token with read access; leave empty to remove": "hf_0123456789"}
        )
    )
    await ada.ask("dataset import", url=url, name="annika")

    assert "/settings" in refused
    assert "None. Public datasets" in settings.text
    assert "Set. Imports" in kept.text
    assert "hf_0123456789" not in kept.text + (await ada.ask("settings")).text
    assert "annika@1" in (await result(ada)).text
    assert "belongs to somebody else" in await ben.refused("dataset import", url=url, name="annika")


async def test_the_channel_sees_the_progress_until_the_result_is_there(
    ada: Chat, files: FileServer
) -> None:
    files.held.add("/large.zip")
    await ada.ask("dataset import", url=f"{files.url}/large.zip?key=secret", name="annika")

    message = await progress(ada)
    files.release.set()
    shown = await result(ada)
    await until_no_progress_is_shown(ada)

    assert "from 127.0.0.1" in message.text.lower()
    assert "secret" not in message.text
    assert "Stop" in message.buttons
    assert shown.id != message.id


async def test_an_import_is_stopped_in_the_middle_of_a_file(
    ada: Chat, ben: Chat, files: FileServer, local: LocalInstallation
) -> None:
    files.held.add("/large.zip")
    await ada.ask("dataset import", url=f"{files.url}/large.zip", name="annika")
    message = await progress(ada)

    refused = await ben.user.press(message, "Stop")
    stopped = await ada.user.press(message, "Stop")

    assert "belongs to somebody else" in (await ben.user.reply(refused)).text
    assert "Stopped" in (await ada.user.reply(stopped)).text
    await until_no_progress_is_shown(ada)
    assert local.runtime.store.names(f"guilds/{local.guilds()[0]}/uploads") == []


async def test_a_restarted_bot_continues_an_import_below_the_same_message(
    copies: Copies, server: SandboxServer, files: FileServer
) -> None:
    files.held.add("/large.zip")
    first = await copies.start()
    async with SandboxUser(server.page_url, user="Ada") as user:
        ada = Chat(user)
        await ada.ask("dataset import", url=f"{files.url}/large.zip", name="annika")
        before = await progress(ada)

        await first.leave()
        await copies.start()
        while len(files.ranges) < 3:  # noqa: ASYNC110  # one to learn the size
            await asyncio.sleep(0.05)
        (after,) = [one for one in await user.messages() if shows_progress(one)]
        files.release.set()
        await result(ada)
        await until_no_progress_is_shown(ada)

    assert after.id == before.id
    assert files.ranges[-1] == f"bytes={BEGUN}-"


async def test_addresses_that_are_not_public_are_refused(ada: Chat, bot: RunningBot) -> None:
    for url in ("https://127.0.0.1/a.zip", "https://[::1]/a.zip", "file:///etc/passwd"):
        refusal = await ada.refused("dataset import", url=url, name="annika")

        assert "not on the public internet" in refusal or "cannot import from" in refusal
