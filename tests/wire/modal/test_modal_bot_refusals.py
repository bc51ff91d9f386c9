"""What a deployment of the bot says when its secret or its token is wrong, and how it goes on."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.wire.modal.hosting import Hosting, hosting
from tests.wire.modal.loopback.api import CommandError

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hosted(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Hosting]:
    async with hosting(tmp_path_factory.mktemp("refused")) as found:
        yield found


async def test_a_deploy_without_the_secret_says_what_is_missing(hosted: Hosting) -> None:
    with pytest.raises(CommandError) as refused:
        await asyncio.to_thread(hosted.deploy)

    print(refused.value)
    assert "hosted-discord" in str(refused.value)


async def test_a_deploy_with_a_secret_without_its_key_says_which(hosted: Hosting) -> None:
    hosted.create_secret(TOKEN="of nobody")

    with pytest.raises(CommandError) as refused:
        await asyncio.to_thread(hosted.deploy)

    print(refused.value)
    assert "LORABOT_DISCORD_TOKEN" in str(refused.value)


async def test_a_refused_token_is_said_in_the_log_and_the_watchdog_reports_it(
    hosted: Hosting,
) -> None:
    hosted.create_secret(LORABOT_DISCORD_TOKEN="of.no.bot")
    scheduler = hosted.loopback.plane.scheduler

    def ended() -> list[object]:
        found = scheduler.containers.values()
        return [its for its in found if its.name == "Bot" and its.state == "ended"]

    printed = await asyncio.to_thread(hosted.deploy)
    begun = asyncio.get_running_loop().time()
    await asyncio.to_thread(hosted.loopback.wait_for, lambda: len(ended()) == 3, 90)
    took = asyncio.get_running_loop().time() - begun
    outcome, watched = await asyncio.to_thread(hosted.watch)

    log = hosted.bots(ended=True)[0].text
    print(printed, took, log, watched)
    assert "Discord refused the token in LORABOT_DISCORD_TOKEN." in log
    assert outcome == "failure"
    assert "The bot answers 503" in watched
