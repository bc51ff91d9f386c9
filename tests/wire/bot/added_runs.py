"""Runs that are stored as if they had been started, for tests of what chat does with them."""

import zlib
from dataclasses import dataclass
from datetime import UTC, datetime

from bot.installation import Installation
from bot.sandbox.server import SandboxServer
from tests import specs
from training.runs import events as ev
from training.runs.event_log import ADVANCE, Writer
from training.runs.events import Event
from training.runs.spec import RunSpec
from training.runs.training_events import CheckpointSaved
from training.store_keys import RunKeys
from training.vocabulary import StageKey

TRAIN = StageKey("train", "main")


@dataclass(frozen=True)
class Place:
    """The ids of a server, of a channel in it, and of the owner of runs there."""

    guild: str
    channel: str
    owner: str


def place_of(server: SandboxServer) -> Place:
    """Return Ada's server, the channel in it, and Ada."""
    world = server.world
    (guild,) = (its for its in world.guilds.values() if its["name"] == "Studio A")
    channels = world.channels_of(guild["id"])
    (channel,) = (its for its in channels if its["name"] == "training")
    (ada,) = (its for its in world.users.values() if its.get("global_name") == "Ada")
    return Place(guild["id"], channel["id"], ada["id"])


def add_run(
    installation: Installation,
    place: Place,
    name: str,
    *events: Event,
    model: str = "wan21-t2v-1-3b",
) -> RunSpec:
    """Store an open run with these events."""
    asked = {"name": name, "guild": place.guild, "channel": place.channel}
    asked |= {"requested_by": place.owner, "created_at": datetime.now(UTC)}
    found = specs.spec(model).model_copy(update=asked)
    store, keys = installation.runtime.store, RunKeys(place.guild, name)
    store.write(keys.open, b"")
    store.write(keys.unannounced, b"")
    store.write(keys.report, specs.report().model_dump_json().encode())
    log = installation.runtime.log(place.guild, name)
    for event in events:
        log.append(Writer(name=ADVANCE, attempt=1), event)
    store.write(keys.spec, found.model_dump_json().encode())
    return found


def add_trained_run(
    installation: Installation, place: Place, name: str, content: bytes, *after: Event
) -> str:
    """Store a run with one checkpoint, then these events; return the key of its file."""
    file = f"checkpoints/main/{name}-e1.safetensors"
    saved = CheckpointSaved(
        path=file,
        epoch=1,
        step=10,
        size_bytes=len(content),
        crc32=zlib.crc32(content),
        is_final=True,
    )
    at, key = datetime.now(UTC), f"{RunKeys(place.guild, name).folder}/{file}"
    add_run(
        installation, place, name, ev.StageEvent(at=at, key=TRAIN, attempt=1, body=saved), *after
    )
    installation.runtime.store.write(key, content)
    return key
