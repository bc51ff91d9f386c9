"""The bot's web server with a file, a large run and an upload link, for a benchmark.

`python -m tests.bench.transfer_server FOLDER` prints its addresses as JSON and serves until its
input ends.
"""

import asyncio
import json
import sys
from pathlib import Path

import httpx

from bot.hosting.local import LocalInstallation
from bot.service.links import LinkSigner
from bot.service.rights import GuildMember
from bot.service.service import Service
from bot.service.threads import in_thread
from bot.settings import Settings
from bot.web.app import create_app
from bot.web.server import WebServer
from storage.local.store import FolderStore
from tests.unit.bot.web_side import GUILD, HIGH, LOW, RUN, Web
from training.files.hashing import file_crc32
from training.registry.uploads.session import DatasetTarget
from training.store_keys import RunKeys


async def _nothing() -> None:
    """Wait for nothing."""


async def main() -> None:
    home = Path(sys.argv[1])
    signer = LinkSigner(b"s" * 32, hours=1)
    service = Service(LocalInstallation(Settings(home=home)), signer, "rehearsal")
    server = WebServer(create_app(service.downloads, uploads=service.uploads))
    signer.base_url = await server.start("127.0.0.1", 0)
    async with httpx.AsyncClient() as client, service.uploads.running():
        store = FolderStore(home)
        web = Web(store, signer, service.downloads, client, settle=_nothing)
        for file in (HIGH, LOW):
            path = store.path(f"{RunKeys(GUILD, RUN).folder}/{file}")
            web.stored[file] = path.stat().st_size, await in_thread(file_crc32, path)
        await web.record((HIGH, 50), (LOW, 50))
        person = GuildMember(id="7", guild=GUILD)
        upload = await service.uploads.link(person, DatasetTarget(name="large"), channel=None)
        addresses = {
            "file": signer.link(GUILD, RUN, HIGH),
            "zip": signer.archive_link(GUILD, RUN),
            "session": f"{signer.base_url}/uploads/{upload.session}",
            "token": upload.url.rpartition("#")[2],
            "path": str(store.path(f"{RunKeys(GUILD, RUN).folder}/{HIGH}")),
        }
        sys.stdout.write(json.dumps(addresses) + "\n")
        sys.stdout.flush()
        await in_thread(sys.stdin.read)
    await server.stop()


if __name__ == "__main__":
    asyncio.run(main())
