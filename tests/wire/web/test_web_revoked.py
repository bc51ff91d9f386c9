"""Links to a run's files that somebody ends, in chat and from a terminal, on both back-ends."""

import asyncio
import re
from datetime import UTC, datetime
from uuid import uuid4

import httpx
import pytest_asyncio

from bot.sandbox.client import Message
from bot.service.threads import in_thread
from tests.wire.bot.added_runs import add_trained_run, place_of
from tests.wire.bot.chat import Chat
from tests.wire.modal.command_line import lorabot
from tests.wire.modal.hosting import person
from tests.wire.web.site import Site
from training.runs import events as ev

CONTENT = bytes(range(256)) * 64
REVOKE = "Revoke links"


@pytest_asyncio.fixture
async def run(site: Site) -> str:
    """The name of a run of Ada with one checkpoint."""
    name, ended = f"mine-{uuid4().hex[:8]}", ev.RunSucceeded(at=datetime.now(UTC))
    await in_thread(add_trained_run, site.installation, place_of(site.server), name, CONTENT, ended)
    return name


def links(answer: Message) -> list[str]:
    """Return the links to the zip of everything and to the checkpoint."""
    found = re.findall(r"\((http[^)]*)\)", answer.text)
    assert [re.sub(r".*/([dz])/.*", r"\1", url) for url in found] == ["z", "d"]
    return found


async def fetched(urls: list[str], **headers: str) -> list[httpx.Response]:
    async with httpx.AsyncClient(timeout=30, trust_env=False) as client:
        return [await client.get(url, headers=headers) for url in urls]


async def until_refused(urls: list[str]) -> None:
    """Wait until the bot has noticed; no event announces that."""
    while True:
        if {answer.status_code for answer in await fetched(urls)} == {410}:
            return
        await asyncio.sleep(0.1)


async def test_a_button_ends_every_link_and_the_next_download_gives_new_ones(
    ada: Chat, site: Site, run: str
) -> None:
    given = await ada.ask("download", run_name=run)
    old = [*links(given), *links(await ada.ask("download", run_name=run))]
    assert [answer.status_code for answer in await fetched(old)] == [200] * 4

    told = await ada.user.reply(await ada.user.press(given, REVOKE))
    refused = [*await fetched(old), *await fetched(old, Range="bytes=5-")]
    new = links(await ada.ask("download", run_name=run))
    archive, checkpoint = await fetched(new)

    assert told.ephemeral
    assert f"The links made so far to {run} no longer work." in told.text
    assert "/download" in told.text
    assert {answer.status_code for answer in refused} == {410}
    assert {answer.text for answer in refused} == {
        f"This link to {run} has been revoked.\nUse /download in Discord to get a new one.\n"
    }
    assert (archive.status_code, checkpoint.content) == (200, CONTENT)


async def test_only_those_who_may_change_a_run_can_end_its_links(
    ada: Chat, site: Site, run: str
) -> None:
    old = links(await ada.ask("download", run_name=run))
    async with person(site.server, "Ben") as ben:
        given = await ben.ask("download", run_name=run)
        refused = await ben.user.reply(await ben.user.press(given, REVOKE))

    assert f"The run {run} belongs to somebody else." in refused.text
    assert "revoke links to it" in refused.text
    assert [answer.status_code for answer in await fetched(old)] == [200] * 2


async def test_the_operator_ends_links_from_a_terminal(ada: Chat, site: Site, run: str) -> None:
    old = links(await ada.ask("download", run_name=run))
    guild = place_of(site.server).guild

    done = await in_thread(lorabot, "run", "revoke-links", run, "--server", guild, *site.options)
    await until_refused(old)
    new = await fetched(links(await ada.ask("download", run_name=run)))

    assert (done.code, done.err) == (0, "")
    assert done.out == f"The links made so far to {run} no longer work.\n"
    assert [answer.status_code for answer in new] == [200] * 2


async def test_a_terminal_needs_the_server_and_a_run_there(site: Site) -> None:
    guild = place_of(site.server).guild
    line = ("run", "revoke-links", "nobody", *site.options)

    without = await in_thread(lorabot, *line)
    unknown = await in_thread(lorabot, *line, "--server", guild)

    assert (without.code, unknown.code) == (1, 1)
    assert "Add --server with the server's id" in without.err
    assert "no run called 'nobody'" in unknown.err
