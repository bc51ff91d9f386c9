"""The bot as a separate process, for tests."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from bot.sandbox.server import SandboxServer
from tests.wire.bot.chat import ROLE

SLOW = "LORABOT_STEP_DELAY"


@asynccontextmanager
async def bot_process(server: SandboxServer, home: Path) -> AsyncGenerator[subprocess.Popen[bytes]]:
    """Run the bot as a separate process, as an operator would."""
    environment = {
        **os.environ,
        "LORABOT_HOME": str(home),
        "LORABOT_DISCORD_TOKEN": server.bot_token,
        "LORABOT_DISCORD_URL": server.base_url,
        "LORABOT_EDIT_SECONDS": "0.3",
        "LORABOT_TEAM_ROLE": ROLE,
        SLOW: "0.15",
    }
    command = [sys.executable, "-m", "bot", "serve"]
    process = await asyncio.to_thread(
        subprocess.Popen, command, env=environment, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    line = await asyncio.to_thread(process.stdout.readline)
    assert b"serves 2 servers" in line
    try:
        yield process
    finally:
        process.kill()
        await asyncio.to_thread(process.wait)
        process.stdout.close()
