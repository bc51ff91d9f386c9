"""Gateway events: changes in the world as the bot receives them, by intent."""

from dataclasses import dataclass

from bot.sandbox.payloads import (
    Views,
    channel_payload,
    member_payload,
    thread_payload,
    user_payload,
)
from bot.sandbox.wire import Json
from bot.sandbox.world.changes import Change
from bot.sandbox.world.permissions import VIEW_CHANNEL
from bot.sandbox.world.world import World

GUILDS, GUILD_MEMBERS, PRESENCES = 1 << 0, 1 << 1, 1 << 8
GUILD_MESSAGES, GUILD_TYPING = 1 << 9, 1 << 11
DIRECT_MESSAGES, DIRECT_TYPING = 1 << 12, 1 << 14
MESSAGE_CONTENT = 1 << 15
PRIVILEGED_INTENTS = GUILD_MEMBERS | PRESENCES | MESSAGE_CONTENT
_CONTENT_FIELDS: Json = {"content": "", "embeds": [], "attachments": [], "components": []}


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One gateway event; `intents` of 0 means every session receives it."""

    name: str
    data: Json
    intents: int = 0
    live_only: bool = False
    hides_content: bool = False

    def data_for(self, intents: int) -> Json:
        """Return the data visible to a session with these intents."""
        if self.hides_content and not intents & MESSAGE_CONTENT:
            return self.data | _CONTENT_FIELDS
        return self.data


def ready_payload(world: World, session_id: str, gateway_url: str) -> Json:
    """Return the data of the READY event."""
    return {
        "v": 10,
        "user": user_payload(world.bot) | {"verified": True, "mfa_enabled": True, "email": None},
        "guilds": [{"id": guild_id, "unavailable": True} for guild_id in world.guilds],
        "session_id": session_id,
        "session_type": "normal",
        "resume_gateway_url": gateway_url,
        "application": {"id": world.application_id, "flags": 0},
        "private_channels": [],
        "shard": [0, 1],
    }


class GatewayEvents:
    """Converts changes to gateway events."""

    def __init__(self, world: World, views: Views) -> None:
        self._world, self._views = world, views

    def of(self, change: Change) -> Event | None:
        """Return the event for a change, or None if the bot gets none."""
        kind, record = change.kind, change.record
        if kind.startswith("message_"):
            return self._message(kind, record)
        if kind.startswith(("thread_", "channel_")):
            return self._channel(kind, record)
        if kind == "pins_update":
            return self._pins(record)
        if kind == "typing":
            return self._typing(record)
        if kind == "member_update":
            return self._member(record)
        return None

    def _sees(self, channel: Json | None) -> bool:
        if channel is None:
            return False
        bits = self._world.permissions(self._world.bot["id"], channel)
        return bool(bits & VIEW_CHANNEL)

    def _message(self, kind: str, message: Json) -> Event | None:
        channel = self._world.channels.get(message["channel_id"])
        if message["ephemeral_for"] or not self._sees(channel):
            return None
        intents = GUILD_MESSAGES if message["guild_id"] else DIRECT_MESSAGES
        if kind == "message_delete":
            data = {key: message[key] for key in ("id", "channel_id", "guild_id")}
            data = {key: value for key, value in data.items() if value}
            return Event(name="MESSAGE_DELETE", data=data, intents=intents)
        bot_id = self._world.bot["id"]
        is_open = message["author_id"] == bot_id or bot_id in message["mentions"]
        return Event(
            name=kind.upper(),
            data=self._views.gateway_message(message),
            intents=intents,
            hides_content=bool(message["guild_id"]) and not is_open,
        )

    def _channel(self, kind: str, channel: Json) -> Event | None:
        if "guild_id" not in channel or not self._sees(channel):
            return None
        if kind == "thread_delete":
            data = {key: channel[key] for key in ("id", "guild_id", "parent_id", "type")}
            return Event(name="THREAD_DELETE", data=data, intents=GUILDS)
        if not kind.startswith("thread_"):
            data = channel_payload(self._world, channel)
            return Event(name=kind.upper(), data=data, intents=GUILDS)
        data = thread_payload(channel)
        if kind == "thread_create":
            data["newly_created"] = True
        return Event(name=kind.upper(), data=data, intents=GUILDS)

    def _pins(self, channel: Json) -> Event:
        newest = max(channel["pins"].values(), default=None)
        data: Json = {"channel_id": channel["id"], "last_pin_timestamp": newest}
        if "guild_id" in channel:
            data["guild_id"] = channel["guild_id"]
        return Event(name="CHANNEL_PINS_UPDATE", data=data, intents=GUILDS | DIRECT_MESSAGES)

    def _typing(self, record: Json) -> Event:
        is_guild = "guild_id" in record
        intents = GUILD_TYPING if is_guild else DIRECT_TYPING
        data = record | {"timestamp": int(self._world.clock())}
        return Event(name="TYPING_START", data=data, intents=intents)

    def _member(self, record: Json) -> Event:
        guild_id, user_id = record["guild_id"], record["user_id"]
        data = member_payload(self._world, guild_id, user_id) | {"guild_id": guild_id}
        # A bot receives updates about itself without the members intent.
        intents = 0 if user_id == self._world.bot["id"] else GUILD_MEMBERS
        return Event(name="GUILD_MEMBER_UPDATE", data=data, intents=intents)
