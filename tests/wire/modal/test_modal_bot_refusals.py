"""What a deployed bot reports if its secret or token is wrong, and how it recovers."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.wire.modal.hosting import Hosting, hosting
from tests.wire.modal.loopback.api import CommandError

BLOCKING = Path(__file__).with_name("blocking_app.py")
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hosted(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Hosting]:
    async with hosting(tmp_path_factory.mktemp("refused")) as found:
        yield found


async def test_a_deploy_without_the_secret_says_what_is_missing(hosted: Hosting) -> None:
    with pytest.raises(CommandError, match="Secret 'hosted-discord' not found"):
        await asyncio.to_thread(hosted.deploy)


async def test_a_deploy_with_a_secret_without_its_key_says_which(hosted: Hosting) -> None:
    hosted.create_secret(TOKEN="of nobody")
    says = r"'hosted-discord' is missing key\(s\): LORABOT_DISCORD_TOKEN"

    with pytest.raises(CommandError, match=says):
        await asyncio.to_thread(hosted.deploy)


async def test_a_refused_token_is_logged_and_reported_by_the_watchdog(
    hosted: Hosting,
) -> None:
    hosted.create_secret(LORABOT_DISCORD_TOKEN="of.no.bot")
    found = hosted.loopback.plane.scheduler.containers
    says = "Discord refused the token in LORABOT_DISCORD_TOKEN. Copy it again"

    await asyncio.to_thread(hosted.deploy)
    await asyncio.to_thread(
        hosted.loopback.wait_for, lambda: any(says in its.text for its in found.values()), 60
    )
    outcome, watched = await asyncio.to_thread(hosted.watch)

    # It waits before it leaves: its host would start the next one at once.
    (container,) = hosted.bots(ended=True)
    assert container.exit_code is None
    assert "Traceback" not in container.text
    assert outcome == "failure"
    assert "The bot answers 503: No container serves at the moment." in watched
    assert "run `lorabot doctor`" in watched


async def test_a_blocking_call_of_modal_in_the_loop_ends_a_container_here(
    hosted: Hosting,
) -> None:
    found = hosted.loopback.plane.scheduler.containers

    def ended() -> bool:
        return any(its.name == "Blocking" and its.state == "ended" for its in found.values())

    await asyncio.to_thread(hosted.loopback.deploy, BLOCKING)
    await asyncio.to_thread(hosted.loopback.wait_for, ended)

    log = hosted.loopback.logs("Blocking")
    assert "AsyncUsageWarning: A blocking Modal interface is being used" in log
