"""Runs the bot in a container, which is replaced once the bot has left Discord."""

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack

from bot.hosting.bot import RunningBot, running_bot
from bot.hosting.startup_report import StartupReport, report_key
from bot.installation import Installation
from bot.sandbox.connect import point_discord_at
from bot.service.threads import in_thread
from training.deployment.names import Deployment

# Threads mostly wait for the store, so allow more than the default (5 in a small container).
_WAITING_AT_ONCE = 32
logger = logging.getLogger(__name__)


class HostedBot:
    """One copy of the bot.

    The container counts as ready once `start` returns. By then this copy is connected and ready to
    take over, so that no command is lost when the old copy stops.
    """

    def __init__(
        self, installation: Installation, deployment: Deployment, *, pause_seconds: float = 30.0
    ) -> None:
        self._installation, self._pause_seconds = installation, pause_seconds
        self._deployment = deployment
        self._stack = AsyncExitStack()
        self._watch: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connect and serve.

        Raises:
            RequestError: A setting is missing, or Discord refuses the token.
        """
        asyncio.get_running_loop().set_default_executor(
            ThreadPoolExecutor(_WAITING_AT_ONCE, thread_name_prefix="bot")
        )
        try:
            await self._start()
        except Exception as error:
            # Pause first: the host restarts a failed container at once, and too many logins would
            # get the bot blocked by Discord.
            logger.error("the bot cannot start; trying again later: %s", error)  # noqa: TRY400
            await self._report(StartupReport.of(error))
            await self._stack.aclose()
            await asyncio.sleep(self._pause_seconds)
            raise

    async def _start(self) -> None:
        settings = self._installation.settings
        token = settings.require_discord_token()
        if settings.discord_url is not None:
            self._stack.enter_context(point_discord_at(settings.discord_url))
        bot = await self._stack.enter_async_context(
            running_bot(
                self._installation,
                token=token,
                engine=self._deployment.engine,
                edit_seconds=settings.edit_seconds,
            )
        )
        logger.info("the bot serves %d servers", len(bot.client.guilds))
        self._watch = asyncio.create_task(self._end_with(bot), name="watch over the bot")
        await self._report(StartupReport.of())

    async def _report(self, report: StartupReport) -> None:
        live, data = self._installation.runtime.live, report.model_dump_json().encode()
        try:
            await in_thread(live.publish, report_key(self._deployment.deploy), data)
        except OSError:
            logger.warning("the startup report could not be stored", exc_info=True)

    async def stop(self) -> None:
        """Hand over, finish the commands in progress, and disconnect."""
        if self._watch is not None:
            self._watch.cancel()
        await self._stack.aclose()

    async def _end_with(self, bot: RunningBot) -> None:
        """When the bot has left Discord, stop the web server, so that the container is replaced."""
        await asyncio.wait({bot.ended})
        logger.error("the bot has left Discord", exc_info=bot.ended.exception())
        await bot.web.stop()
