"""The demonstration on Modal's own client, against the control plane on this machine.

`python -m tests.wire.modal.play` deploys the stages and the bot as `lorabot deploy` does, and plays
the demonstration through chat: the containers are processes, everything else is as on Modal.
"""

import asyncio
import os
import tempfile
import threading
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import modal
from rich.console import Console

from bot.demo.conversation import TEAM_ROLE
from bot.demo.play import EDIT_SECONDS, Scene, play
from bot.hosting.modal import ModalInstallation
from bot.sandbox.server import SandboxServer
from bot.settings import Settings
from tests.wire.modal.loopback.api import Loopback
from tests.wire.modal.loopback.settings import Settings as LoopbackSettings
from training.deployment.names import Deployment

ROOT = Path(__file__).parents[3]
GPUS = 2


@asynccontextmanager
async def on_modal(console: Console) -> AsyncGenerator[Scene]:
    """Deploy everything to a control plane of its own, and wait until the bot is connected."""
    with tempfile.TemporaryDirectory(prefix="lorabot-modal-") as folder:
        server = SandboxServer(Path(folder) / "sandbox")
        await server.start()
        try:
            with _control_plane(Path(folder) / "modal") as loopback:
                installation = await asyncio.to_thread(_deploy, loopback, server)
                console.print("  stages and bot are deployed, the bot is connected")
                yield Scene(installation, server.page_url)
        finally:
            await server.stop()


@contextmanager
def _control_plane(folder: Path) -> Generator[Loopback]:
    settings = LoopbackSettings(gpus=GPUS)
    with Loopback(folder, settings) as loopback:
        before = dict(os.environ)
        os.environ.update(loopback.client_env())
        try:
            yield loopback
            loopback.check()
        finally:
            _close_client()
            os.environ.clear()
            os.environ.update(before)


def _close_client() -> None:
    # In a thread: the blocking interface must not be used where a loop runs.
    thread = threading.Thread(target=lambda: modal.Client.from_env().close())
    thread.start()
    thread.join()


def _deploy(loopback: Loopback, server: SandboxServer) -> ModalInstallation:
    deployment = Deployment(name="demo", engine="rehearsal", gpu_stages=GPUS)
    told = {name: value for name, value in deployment.variables().items() if value is not None}
    told |= {
        "LORABOT_DISCORD_URL": server.base_url,
        "LORABOT_TEAM_ROLE": TEAM_ROLE,
        "LORABOT_EDIT_SECONDS": str(EDIT_SECONDS),
    }
    loopback.create_secret(deployment.hub_secret, {"HF_TOKEN": "hf_of_nobody"})
    loopback.create_secret(deployment.discord_secret, {"LORABOT_DISCORD_TOKEN": server.bot_token})
    for module in ("training.modal_app", "bot.modal_app"):
        loopback.deploy(f"module:{module}", env=told, cwd=ROOT)
    loopback.wait_for(lambda: any(one.is_serving for one in loopback.plane.scheduler.living_all()))
    return ModalInstallation(Settings(team_role=TEAM_ROLE), deployment)


def main() -> None:
    console = Console()
    asyncio.run(play(Path("build/demo-modal-loopback"), console, on_modal(console)))


if __name__ == "__main__":
    main()
