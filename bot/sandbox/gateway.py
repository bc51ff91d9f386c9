"""The gateway: WebSocket sessions with heartbeats, resume, replay and close codes."""

import asyncio
import json
import logging
import secrets
import zlib
from collections import deque
from dataclasses import dataclass, field
from typing import Any, cast

from aiohttp import ClientConnectionResetError, WSMsgType, web

from bot.sandbox.payloads import (
    Views,
    channel_payload,
    guild_create_payload,
    member_payload,
    role_payload,
    thread_payload,
    user_payload,
)
from bot.sandbox.wire import Json
from bot.sandbox.world.permissions import VIEW_CHANNEL
from bot.sandbox.world.world import Change, World

GUILDS, GUILD_MEMBERS, PRESENCES = 1 << 0, 1 << 1, 1 << 8
GUILD_MESSAGES, GUILD_TYPING = 1 << 9, 1 << 11
DIRECT_MESSAGES, DIRECT_TYPING = 1 << 12, 1 << 14
MESSAGE_CONTENT = 1 << 15
PRIVILEGED_INTENTS = GUILD_MEMBERS | PRESENCES | MESSAGE_CONTENT
_CONTENT_FIELDS: Json = {"content": "", "embeds": [], "attachments": [], "components": []}


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One gateway event; if `intents` is 0, every session receives it."""

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
    guilds = world.guilds_of(world.bot["id"])
    return {
        "v": 10,
        "user": user_payload(world.bot) | {"verified": True, "mfa_enabled": True, "email": None},
        "guilds": [{"id": guild["id"], "unavailable": True} for guild in guilds],
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
        """Return the gateway event for a change; None for a change that bots do not receive."""
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
        if kind.startswith("role_"):
            return self._role(kind, record)
        if kind.startswith("guild_"):
            return self._guild(kind, record)
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

    def _guild(self, kind: str, guild: Json) -> Event:
        if kind == "guild_create":
            data = guild_create_payload(self._world, guild)
            return Event(name="GUILD_CREATE", data=data, intents=GUILDS)
        return Event(name="GUILD_DELETE", data={"id": guild["id"]}, intents=GUILDS)

    def _role(self, kind: str, record: Json) -> Event:
        data: Json = {"guild_id": record["guild_id"]}
        if kind == "role_delete":
            data["role_id"] = record["role"]["id"]
        else:
            roles = self._world.guild(record["guild_id"])["roles"]
            data["role"] = role_payload(record["role"], roles.index(record["role"]))
        return Event(name=f"GUILD_{kind.upper()}", data=data, intents=GUILDS)

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
        # A bot receives updates about itself even without the members intent.
        intents = 0 if user_id == self._world.bot["id"] else GUILD_MEMBERS
        return Event(name="GUILD_MEMBER_UPDATE", data=data, intents=intents)


logger = logging.getLogger(__name__)

DISPATCH, HEARTBEAT, IDENTIFY, PRESENCE, VOICE, RESUME, RECONNECT = 0, 1, 2, 3, 4, 6, 7
MEMBERS, INVALID_SESSION, HELLO, HEARTBEAT_ACK = 8, 9, 10, 11
IDENTIFIES_PER_DAY = 1000
_PAYLOADS_PER_MINUTE = 120
_ACK_SECONDS = 0.05
_REPLAYABLE = 2000  # a session keeps this many events
_RESUME_SECONDS = 300  # how long a session without a socket can be resumed
_DAY = 24 * 60 * 60


class _Close(Exception):  # noqa: N818 - ends a connection deliberately
    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.code, self.reason = code, reason


class Connection:
    """One WebSocket. It sends payloads in order, and compresses them if the client asked for it."""

    def __init__(self, request: web.Request, socket: web.WebSocketResponse) -> None:
        self.socket, self._transport = socket, request.transport
        is_compressed = request.query.get("compress") == "zlib-stream"
        self._deflate = zlib.compressobj() if is_compressed else None
        self._queue: asyncio.Queue[Json] = asyncio.Queue()
        self.received: deque[float] = deque()

    def send(self, payload: Json) -> None:
        self._queue.put_nowait(payload)

    async def write(self) -> None:
        try:
            while True:
                await self._write_one(json.dumps(await self._queue.get()))
        except (ClientConnectionResetError, ConnectionResetError):
            logger.debug("The socket closed before everything was sent.")

    async def _write_one(self, text: str) -> None:
        if self._deflate is None:
            await self.socket.send_str(text)
            return
        data = self._deflate.compress(text.encode()) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        await self.socket.send_bytes(data)

    def abort(self) -> None:
        """Drop the connection without a close frame, as a network failure does."""
        if self._transport is not None:
            self._transport.abort()


@dataclass(slots=True)
class Session:
    """A client's session, with recent events for replay."""

    id: str
    intents: int
    sequence: int = 0
    events: deque[Json] = field(default_factory=lambda: deque[Json](maxlen=_REPLAYABLE))
    connection: Connection | None = None
    detached_at: float = 0.0

    def push(self, name: str, data: Json) -> None:
        """Give an event the next number and keep it; send it if the client is connected."""
        self.sequence += 1
        payload: Json = {"op": DISPATCH, "t": name, "s": self.sequence, "d": data}
        self.events.append(payload)
        if self.connection is not None:
            self.connection.send(payload)

    def missed_since(self, sequence: int) -> list[Json] | None:
        """Return the events after number `sequence`; None if some are no longer kept."""
        missed = [event for event in self.events if event["s"] > sequence]
        return missed if len(missed) == self.sequence - sequence else None


class Gateway:
    """The bot's sessions and the WebSocket endpoint."""

    def __init__(self, world: World, token: str) -> None:
        self._world, self._token = world, token
        self.sessions: dict[str, Session] = {}
        self.heartbeat_seconds = 41.25
        self.url = ""
        self._identifies: deque[float] = deque()
        self._connections: set[Connection] = set()
        self.accepts = self.acknowledges = True
        self.withheld: set[str] = set()  # guilds whose GUILD_CREATE is withheld from new sessions

    @property
    def is_live(self) -> bool:
        return any(session.connection for session in self.sessions.values())

    @property
    def identifies_left(self) -> int:
        """How many more IDENTIFYs are allowed, given those of the last 24 hours."""
        while self._identifies and self._identifies[0] < self._world.clock() - _DAY:
            self._identifies.popleft()
        return IDENTIFIES_PER_DAY - len(self._identifies)

    def count_identify(self) -> None:
        self._identifies.append(self._world.clock())

    def dispatch(self, event: Event) -> None:
        """Send an event to all sessions that have the event's intents.

        Disconnected sessions get it when they resume, unless it is `live_only`.
        """
        for session in self.sessions.values():
            if event.intents and not session.intents & event.intents:
                continue
            if event.live_only and session.connection is None:
                continue
            session.push(event.name, event.data_for(session.intents))

    def drop_sockets(self) -> None:
        """Drop every connection without a close frame; sessions stay resumable."""
        for connection in list(self._connections):
            self._detach(connection)
            connection.abort()

    def invalidate_sessions(self) -> None:
        """Delete every session and tell clients to identify again."""
        self.sessions.clear()
        for connection in self._connections:
            connection.send({"op": INVALID_SESSION, "d": False})

    def ask_to_reconnect(self) -> None:
        """Ask every client to reconnect, as Discord does before maintenance."""
        for connection in self._connections:
            connection.send({"op": RECONNECT, "d": None})

    async def close(self) -> None:
        """Close every socket with code 1001 ("going away")."""
        for connection in list(self._connections):
            await connection.socket.close(code=1001, message=b"going away")

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Handle one WebSocket from HELLO to close."""
        if not self.accepts:
            return web.Response(status=503)
        socket = web.WebSocketResponse(max_msg_size=16 * 1024, compress=False)
        await socket.prepare(request)
        connection = Connection(request, socket)
        self._connections.add(connection)
        writer = asyncio.create_task(connection.write(), name="gateway writer")
        connection.send({"op": HELLO, "d": {"heartbeat_interval": self.heartbeat_seconds * 1000}})
        try:
            await self._read(connection)
        except _Close as close:
            await socket.close(code=close.code, message=close.reason.encode())
        finally:
            self._detach(connection)
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)
        return socket

    def _detach(self, connection: Connection) -> None:
        self._connections.discard(connection)
        for session in self.sessions.values():
            if session.connection is connection:
                session.connection = None
                session.detached_at = self._world.clock()

    async def _read(self, connection: Connection) -> None:
        while True:
            try:
                # Discord drops a client that misses a heartbeat.
                message = await connection.socket.receive(timeout=self.heartbeat_seconds * 1.5)
            except TimeoutError as error:
                raise _Close(4009, "Session timed out.") from error
            if message.type is not WSMsgType.TEXT:
                self._end_session_if_closed(connection)
                return
            self._limit(connection)
            self._handle(connection, _decoded(message.data))

    def _end_session_if_closed(self, connection: Connection) -> None:
        # Closing with 1000 or 1001 ends the session.
        if connection.socket.close_code in (1000, 1001):
            gone = [s.id for s in self.sessions.values() if s.connection is connection]
            for session_id in gone:
                del self.sessions[session_id]

    def _limit(self, connection: Connection) -> None:
        now = self._world.clock()
        connection.received.append(now)
        while connection.received[0] < now - 60:
            connection.received.popleft()
        if len(connection.received) > _PAYLOADS_PER_MINUTE:
            raise _Close(4008, "Rate limited.")

    def _handle(self, connection: Connection, payload: Json) -> None:
        op, data = payload.get("op"), payload.get("d")
        if op == HEARTBEAT:
            if not self.acknowledges:
                return
            # Answer a little later, because discord.py records the send time only after the send
            # returns.
            loop = asyncio.get_running_loop()
            loop.call_later(_ACK_SECONDS, connection.send, {"op": HEARTBEAT_ACK})
        elif op in (IDENTIFY, RESUME):
            handle = self._identify if op == IDENTIFY else self._resume
            handle(connection, _as_object(data))
        elif op not in (PRESENCE, VOICE, MEMBERS):
            raise _Close(4001, "Unknown opcode.")
        elif not self._session_of(connection):
            raise _Close(4003, "Not authenticated.")

    def _session_of(self, connection: Connection) -> Session | None:
        found = (s for s in self.sessions.values() if s.connection is connection)
        return next(found, None)

    def _identify(self, connection: Connection, data: Json) -> None:
        if self._session_of(connection):
            raise _Close(4005, "Already authenticated.")
        if data.get("token", "").removeprefix("Bot ") != self._token or self.identifies_left <= 0:
            raise _Close(4004, "Authentication failed.")
        if data.get("shard", [0, 1]) != [0, 1]:
            raise _Close(4010, "Invalid shard.")
        intents = data.get("intents")
        if not isinstance(intents, int) or intents < 0 or intents >> 26:
            raise _Close(4013, "Invalid intent(s).")
        if intents & PRIVILEGED_INTENTS:
            raise _Close(4014, "Disallowed intent(s).")
        self.count_identify()
        self.sessions = {s.id: s for s in self.sessions.values() if not self._is_stale(s)}
        session = Session(secrets.token_hex(16), intents, connection=connection)
        self.sessions[session.id] = session
        session.push("READY", ready_payload(self._world, session.id, self.url))
        for guild in self._world.guilds_of(self._world.bot["id"]):
            if guild["id"] not in self.withheld:
                session.push("GUILD_CREATE", guild_create_payload(self._world, guild))

    def _is_stale(self, session: Session) -> bool:
        age = self._world.clock() - session.detached_at
        return session.connection is None and age > _RESUME_SECONDS

    def _resume(self, connection: Connection, data: Json) -> None:
        if data.get("token", "").removeprefix("Bot ") != self._token:
            raise _Close(4004, "Authentication failed.")
        session = self.sessions.get(str(data.get("session_id")))
        missed = self._missed(session, data.get("seq"))
        if session is None or missed is None:
            connection.send({"op": INVALID_SESSION, "d": False})
            return
        session.connection = connection
        for event in missed:
            connection.send(event)
        session.push("RESUMED", {})

    def _missed(self, session: Session | None, sequence: Any) -> list[Json] | None:
        if session is None:
            return None
        if not isinstance(sequence, int) or sequence > session.sequence:
            raise _Close(4007, "Invalid seq.")
        if self._is_stale(session):
            del self.sessions[session.id]
            return None
        return session.missed_since(sequence)


def _decoded(text: str) -> Json:
    try:
        payload = json.loads(text)
    except json.JSONDecodeError as error:
        raise _Close(4002, "Error while decoding payload.") from error
    return _as_object(payload)


def _as_object(data: Any) -> Json:
    if not isinstance(data, dict):
        raise _Close(4002, "Error while decoding payload.")
    return cast("Json", data)
