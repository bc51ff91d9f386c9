"""`lorabot serve` and `lorabot sandbox`: run the bot on Discord, or in a local chat page."""

import asyncio
import logging
import signal
import webbrowser
from contextlib import AsyncExitStack, suppress
from typing import Annotated

from cyclopts import Parameter, validators

from bot.cli.home import Home
from bot.cli.output import console
from bot.hosting.bot import RunningBot, load_and_freeze, running_bot
from bot.hosting.local import LocalInstallation
from bot.sandbox.connect import point_discord_at
from bot.sandbox.server import SandboxServer
from bot.service.threads import in_thread

_SANDBOX_EDIT_SECONDS = 1.0
_SANDBOX_ROLE = "lora-team"
Port = Annotated[
    int,
    Parameter(
        help="Port of the chat page; 0 picks a free one.",
        validator=validators.Number(gte=0, lte=65535),
    ),
]
Browser = Annotated[bool, Parameter(help="Open the page in your browser.")]


def sandbox(*, port: Port = 8484, browser: Browser = True, home: Home | None = None) -> None:
    logging.getLogger("bot").setLevel(logging.INFO)
    local = LocalInstallation((home or Home()).this_machine("sandbox"))
    load_and_freeze(local)
    asyncio.run(_sandbox(local, port, browser))


async def _sandbox(local: LocalInstallation, port: int, opens_browser: bool) -> None:
    server = SandboxServer(local.home / "sandbox")
    await server.start(port)
    try:
        with point_discord_at(server.base_url):
            async with running_bot(
                local.with_team_role(_SANDBOX_ROLE),
                token=server.bot_token,
                engine="rehearsal",
                edit_seconds=_SANDBOX_EDIT_SECONDS,
            ) as bot:
                console.print("The chat page is at", markup=False)
                console.print(f"  {server.page_url}", markup=False)
                console.print("Anyone with this URL can use the page. Stop with Ctrl-C.")
                if opens_browser:
                    await in_thread(webbrowser.open, server.page_url)
                await _until_stopped(bot)
    finally:
        await server.stop()


def serve(*, home: Home | None = None) -> None:
    logging.getLogger("bot").setLevel(logging.INFO)
    local = LocalInstallation((home or Home()).this_machine("serve"))
    token = local.settings.require_discord_token()
    load_and_freeze(local)
    asyncio.run(_serve(local, token))


async def _serve(local: LocalInstallation, token: str) -> None:
    engine = "musubi" if local.settings.musubi_dir is not None else "rehearsal"
    async with AsyncExitStack() as stack:
        if local.settings.discord_url is not None:
            stack.enter_context(point_discord_at(local.settings.discord_url))
        bot = await stack.enter_async_context(
            running_bot(local, token=token, engine=engine, edit_seconds=local.settings.edit_seconds)
        )
        console.print(
            f"{bot.client.user} serves {len(bot.client.guilds)} servers. Stop with Ctrl-C."
        )
        if not bot.is_active:
            console.print("Another copy of the bot is active; this one stands by to take over.")
        await _until_stopped(bot)


async def _until_stopped(bot: RunningBot) -> None:
    """Wait for Ctrl-C or SIGTERM, or until the bot itself disconnects from Discord for good."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    waiting = asyncio.create_task(stop.wait(), name="stop signal")
    await asyncio.wait({waiting, bot.ended}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    with suppress(asyncio.CancelledError):
        await waiting
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.remove_signal_handler(number)
    if bot.client.claims.is_busy:
        console.print("Finishing the commands in progress. Press Ctrl-C again to stop immediately.")
