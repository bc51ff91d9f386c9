"""The web side over loopback with a real store, and the record of a run of both experts."""

from dataclasses import dataclass

import httpx

from bot.service.downloads.links import LinkSigner
from storage.local.store import FolderStore
from tests.specs import spec
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
    """A server with its links, its store and a client."""

    store: FolderStore
    links: LinkSigner
    client: httpx.AsyncClient
    now: float = 1_800_000_000.0

    def put(self, file: str, data: bytes, guild: str = GUILD) -> None:
        self.store.write(f"guilds/{guild}/runs/{RUN}/{file}", data)

    def record(self, *saved: tuple[str, int], guild: str = GUILD) -> None:
        """Write down that checkpoints, each of an epoch, were saved by a run of both experts."""
        run = spec("wan22-i2v-vanilla").model_copy(update={"name": RUN, "guild": guild})
        self.store.write(RunKeys(guild, RUN).spec, run.model_dump_json().encode())
        log = RunLog(self.store, guild, RUN)
        for file, epoch in saved:
            expert: ExpertName = "high" if "/high/" in file else "low"
            event = ev.StageEvent(
                at=run.created_at,
                key=StageKey("train", expert),
                attempt=1,
                body=CheckpointSaved(
                    path=file, epoch=epoch, step=epoch, size_bytes=1, is_final=False
                ),
            )
            log.append(Writer(name=f"train-{expert}", attempt=1), event)
