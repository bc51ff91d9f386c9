"""A bot on a machine whose clock differs from Discord's by hours."""

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.sandbox.client import SandboxUser
from bot.sandbox.server import SandboxServer
from tests.media import guide_files, write_zip

_HOURS = 60 * 60


@pytest.fixture(params=[-2, 2])
async def server(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[SandboxServer]:
    """Discord's clock is behind or ahead."""
    sandbox = SandboxServer(
        tmp_path / "sandbox", clock=lambda: time.time() + request.param * _HOURS
    )
    await sandbox.start()
    yield sandbox
    await sandbox.stop()
    assert sandbox.rest.mistakes == []


@pytest.mark.usefixtures("bot")
async def test_long_answers_and_refusals_replace_their_deferrals(
    server: SandboxServer, tmp_path: Path
) -> None:
    images = write_zip(tmp_path / "images.zip", guide_files(images=2, clips=0))
    async with SandboxUser(server.page_url, user="Ada") as ada:
        added = await ada.command("dataset add", {"name": "annika", "zip": images})
        answer = await ada.reply(added)
        refused = await ada.command("dataset show", {"name": "berta"})
        refusal = await ada.reply(refused)

    assert answer.interaction_id == added.id
    assert "annika@1" in answer.text
    assert refusal.interaction_id == refused.id
    assert "What to do" in refusal.text
