"""What an installation has to tell people by itself, kept until the bot has told it."""

import uuid
from collections.abc import Iterator
from datetime import datetime

from pydantic import BaseModel, ConfigDict

from training import store_keys
from training.errors import TrainingError
from training.operations.clean_up import CleanUp, Freed
from training.pipeline.runtime import Runtime
from training.ports import Store


class CleanUpNotice(BaseModel):
    """What a cleaning freed, told to a guild in the channel of its newest run.

    `shared_bytes` are of what all guilds share: merged bases, and files left unfinished.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    guild: str
    channel: str
    at: datetime
    cache_files: int
    cache_bytes: int
    shared_bytes: int


def announce(runtime: Runtime, found: CleanUp) -> None:
    """Leave a notice for every guild that something was removed for."""
    shared_bytes = found.merged.size_bytes + found.unfinished_bytes
    for guild in runtime.store.names(store_keys.GUILDS):
        freed = found.caches.get(guild, Freed())
        channel = _channel(runtime, guild)
        if channel is None or not (freed.files or shared_bytes):
            continue
        notice = CleanUpNotice(
            guild=guild,
            channel=channel,
            at=runtime.clock(),
            cache_files=freed.files,
            cache_bytes=freed.size_bytes,
            shared_bytes=shared_bytes,
        )
        runtime.store.write(store_keys.notice(uuid.uuid4().hex), notice.model_dump_json().encode())


def notices(store: Store) -> Iterator[tuple[str, CleanUpNotice]]:
    """Yield the key of every notice that was not told, and the notice."""
    for name, data in store.read_all(store_keys.NOTICES).items():
        yield f"{store_keys.NOTICES}/{name}", CleanUpNotice.model_validate_json(data)


def _channel(runtime: Runtime, guild: str) -> str | None:
    """Return the channel of a guild's newest run; None of a guild without one."""
    newest: tuple[datetime, str] | None = None
    for name in runtime.store.names(store_keys.runs(guild)):
        try:
            spec = runtime.log(guild, name).spec()
        except TrainingError:
            continue
        if spec.channel and (newest is None or spec.created_at > newest[0]):
            newest = (spec.created_at, spec.channel)
    return newest[1] if newest else None
