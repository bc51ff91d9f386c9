"""The bot as a server on Modal: image, secret and resources. `bot.hosting` does the actual work."""

import os
from typing import TYPE_CHECKING

import modal

from bot.settings import HOSTED_VARIABLES
from training.deployment.code_version import BOT_CODE, labels
from training.deployment.modal_images import image
from training.deployment.names import DISCORD_KEYS, Deployment
from training.deployment.resources import BOT, FUNCTIONS, STARTUP_SECONDS
from training.pipeline.settings import STAGE_VARIABLES, chosen

if TYPE_CHECKING:
    from bot.hosting.container import HostedBot

DEPLOYMENT = Deployment.from_env(os.environ)
SECRET = modal.Secret.from_name(DEPLOYMENT.discord_secret, required_keys=list(DISCORD_KEYS))
VOLUMES = {
    DEPLOYMENT.mount_path(area): modal.Volume.from_name(
        DEPLOYMENT.volume(area), create_if_missing=True, version=1
    ).with_mount_options(read_only=True)
    for area in BOT.areas
}
IMAGE = image("bot")
WATCH = FUNCTIONS["watch"]
app = modal.App(
    DEPLOYMENT.bot_app, tags=labels(DEPLOYMENT, *BOT_CODE) if modal.is_local() else None
)


@app.server(
    image=IMAGE,
    secrets=[SECRET],
    env={**DEPLOYMENT.variables(), **chosen((*HOSTED_VARIABLES, *STAGE_VARIABLES), os.environ)},
    cpu=BOT.cpu,
    memory=round(BOT.memory_gib * 1024),
    volumes={**VOLUMES},
    port=BOT.port,
    min_containers=1,
    unauthenticated=True,  # the bot signs its links, and no page lists them
    startup_timeout=BOT.startup_seconds,
    exit_grace_period=BOT.grace_seconds,
)
class Bot:
    """One copy of the bot with its web server."""

    bot: "HostedBot"

    @modal.enter()
    async def start(self) -> None:
        """Connect to Discord; the container then counts as ready."""
        from bot.hosting.container import HostedBot
        from bot.hosting.modal import open_hosted
        from training.pipeline.logging_setup import log_to_stderr

        log_to_stderr()
        server = modal.Server.from_name(DEPLOYMENT.bot_app, "Bot")
        installation = open_hosted(DEPLOYMENT, os.environ, url=await server.get_url.aio())
        self.bot = HostedBot(installation, DEPLOYMENT)
        await self.bot.start()

    @modal.exit()
    async def stop(self) -> None:
        """Hand over to the next copy, finish the commands in progress, and disconnect."""
        await self.bot.stop()


@app.function(
    image=IMAGE,
    env=DEPLOYMENT.variables(),
    cpu=WATCH.cpu,
    memory=round(WATCH.memory_gib * 1024),
    timeout=WATCH.timeout_seconds,
    startup_timeout=min(STARTUP_SECONDS, WATCH.timeout_seconds),
    single_use_containers=WATCH.idle_seconds == 0,
)
def watch() -> None:
    """Raise if the bot does not answer; Modal then reports the failure."""
    from bot.hosting.modal import require_health

    require_health(modal.Server.from_name(DEPLOYMENT.bot_app, "Bot").get_url())
