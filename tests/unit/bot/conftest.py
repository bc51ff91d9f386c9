"""Web servers with their links, their stores and a client."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest_asyncio

from tests.unit.bot.web.upload_side import LocalSide, local_uploads
from tests.unit.bot.web_side import Web, local_web


@pytest_asyncio.fixture
async def web(tmp_path: Path) -> AsyncGenerator[Web]:
    async with local_web(tmp_path / "home") as found:
        yield found


@pytest_asyncio.fixture
async def uploads(tmp_path: Path) -> AsyncGenerator[LocalSide]:
    async with local_uploads(tmp_path / "home") as found:
        yield found
