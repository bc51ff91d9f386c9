"""A web server with a real store, and the record of a run of both experts."""

import asyncio
import tempfile
import time
import zlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from bot.service.downloads.downloads import Downloads
from bot.service.links import LinkSigner
from bot.service.threads import in_thread
from bot.web.app import create_app
from bot.web.server import WebServer
from storage.local.store import FolderStore
from tests.specs import spec
from training.ports import Store
from training.runs import events as ev
from training.runs.event_log import RunLog, Writer
from training.runs.training_events import CheckpointSaved
from training.store_keys import RunKeys
from training.vocabulary import ExpertName, StageKey

GUILD, OTHER_GUILD, RUN = "42", "43", "annika"
HIGH = "checkpoints/high/annika-high.safetensors"
LOW = "checkpoints/low/annika-low.safetensors"
BYTES = bytes(range(256)) * 2000


@dataclass
class Web:
    """A server with its links, its store and a client.

    Attributes:
        guild: The guild of the run; that of `OTHER_GUILD` is another.
        now: The time by which links are signed.
        settle: Waits until the server reads the records of runs anew.
        stored: Size and CRC-32 of each file as it was saved.
    """

    store: Store
    links: LinkSigner
    downloads: Downloads
    client: httpx.AsyncClient
    settle: Callable[[], Awaitable[None]]
    guild: str = GUILD
    now: float = field(default_factory=time.time)
    stored: dict[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])

    def link(self, file: str = HIGH, revocations: int = 0) -> str:
        return self.links.link(self.guild, RUN, file, revocations)

    def archive(self, epoch: int | None = None) -> str:
        return self.links.archive_link(self.guild, RUN, epoch)

    async def put(self, file: str, data: bytes, guild: str = "") -> None:
        """Store a file of the run."""
        self.stored[file] = len(data), zlib.crc32(data)
        await in_thread(self.store.write, self._key(file, guild), data)

    async def save_pair(self) -> None:
        """Store and record a checkpoint of each expert, both of epoch 50."""
        await self.put(HIGH, BYTES)
        await self.put(LOW, BYTES[::-1])
        await self.record((HIGH, 50), (LOW, 50))

    async def delete(self, file: str) -> None:
        """Delete a file or a folder of the run."""
        await in_thread(self.store.delete, self._key(file))

    async def damage(self, file: str, harm: Callable[[Path], None]) -> None:
        """Store a damaged copy of a file; delete it if `harm` removes the copy."""
        data = await in_thread(self.store.read, self._key(file))
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "copy"
            copy.write_bytes(data)
            harm(copy)
            harmed = copy.read_bytes() if copy.exists() else None
        # On Modal a change shows by the file's size and the second in which it was written.
        await asyncio.sleep(1 - time.time() % 1)
        if harmed is None:
            await self.delete(file)
        else:
            await in_thread(self.store.write, self._key(file), harmed)

    async def record(self, *saved: tuple[str, int]) -> None:
        """Record that a run of both experts saved these checkpoints, one per epoch."""
        await in_thread(self._record, *saved)

    def _key(self, file: str, guild: str = "") -> str:
        return f"{RunKeys(guild or self.guild, RUN).folder}/{file}"

    def _record(self, *saved: tuple[str, int]) -> None:
        run = spec("wan22-i2v-vanilla").model_copy(update={"name": RUN, "guild": self.guild})
        self.store.write(RunKeys(self.guild, RUN).spec, run.model_dump_json().encode())
        log = RunLog(self.store, self.guild, RUN)
        for file, epoch in saved:
            size_bytes, crc32 = self.stored[file]
            expert: ExpertName = "high" if "/high/" in file else "low"
            event = ev.StageEvent(
                at=run.created_at,
                key=StageKey("train", expert),
                attempt=1,
                body=CheckpointSaved(
                    path=file,
                    epoch=epoch,
                    step=epoch,
                    size_bytes=size_bytes,
                    crc32=crc32,
                    is_final=False,
                ),
            )
            log.append(Writer(name=f"train-{expert}", attempt=1), event)


@asynccontextmanager
async def local_web(home: Path) -> AsyncGenerator[Web]:
    """Serve a run from a folder in this process."""
    store = FolderStore(home)
    links = LinkSigner(b"s" * 32, clock=lambda: found.now)
    downloads = Downloads(store, links)

    async def settle() -> None:
        downloads.forget(GUILD, RUN)

    server = WebServer(create_app(downloads))
    links.base_url = await server.start("127.0.0.1", 0)
    async with httpx.AsyncClient(timeout=10, trust_env=False) as client:
        found = Web(store, links, downloads, client, settle)
        await found.save_pair()
        yield found
    await server.stop()


def open_files() -> int:
    """Return how many files and connections this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))
