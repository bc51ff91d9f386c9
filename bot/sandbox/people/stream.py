"""Live updates for the chat page: server-sent events, filtered by what the user can see."""

import asyncio
import json
import logging
from typing import Any

from aiohttp import ClientConnectionResetError, web

from bot.sandbox.interactions import Interaction, Interactions
from bot.sandbox.payloads import Views, thread_payload
from bot.sandbox.wire import Json
from bot.sandbox.world.changes import Change
from bot.sandbox.world.world import World

logger = logging.getLogger(__name__)

_KEEP_ALIVE_SECONDS = 15.0
_CHANNEL_KINDS = ("thread_create", "thread_update", "thread_delete")


class Stream:
    """Sends changes to every open page."""

    def __init__(self, world: World, views: Views, interactions: Interactions) -> None:
        self._world, self._views = world, views
        self._interactions = interactions
        self._open: dict[asyncio.Queue[Json | None], str] = {}

    def tell(self, change: Change) -> None:
        """Queue a change for every user who may see it."""
        for queue, user_id in self._open.items():
            if event := self._event(change, user_id):
                queue.put_nowait(event)

    def close(self) -> None:
        for queue in self._open:
            queue.put_nowait(None)

    def _event(self, change: Change, user_id: str) -> Json | None:
        kind, record = change.kind, change.record
        if kind.startswith("message_"):
            return self._message(kind, record, user_id)
        if kind == "interaction":
            if record["user"] != user_id:
                return None
            shown = interaction_view(self._interactions.get(record["id"]))
            return {"kind": kind, "interaction": shown}
        if kind in _CHANNEL_KINDS:
            if kind != "thread_delete" and not self._world.sees(user_id, record):
                return None
            return {"kind": kind, "thread": thread_payload(record)}
        if kind == "typing":
            return {"kind": kind, **record} if record["user_id"] != user_id else None
        return {"kind": kind}

    def _message(self, kind: str, message: Json, user_id: str) -> Json | None:
        channel = self._world.channels.get(message["channel_id"])
        if message["ephemeral_for"] not in (None, user_id):
            return None
        if channel is None or not self._world.sees(user_id, channel):
            return None
        if kind == "message_delete":
            shown: Json = {"id": message["id"], "channel_id": message["channel_id"]}
            return {"kind": kind, "message": shown}
        return {"kind": kind, "message": self._views.message(message)}

    async def serve(self, request: web.Request, user_id: str) -> web.StreamResponse:
        """Write events until the page disconnects or the server stops."""
        response = web.StreamResponse(headers={"Cache-Control": "no-store"})
        response.content_type = "text/event-stream"
        await response.prepare(request)
        queue: asyncio.Queue[Json | None] = asyncio.Queue()
        self._open[queue] = user_id
        try:
            await response.write(_written({"kind": "ready"}))
            while (event := await _next(queue)) is not None:
                await response.write(_written(event))
        except (ClientConnectionResetError, ConnectionResetError):
            logger.debug("A page disconnected.")
        finally:
            del self._open[queue]
        return response


async def _next(queue: asyncio.Queue[Json | None]) -> Json | None:
    try:
        return await asyncio.wait_for(queue.get(), _KEEP_ALIVE_SECONDS)
    except TimeoutError:
        return {}


def _written(event: Json) -> bytes:
    # An empty event becomes a comment, which keeps the connection alive.
    return f"data: {json.dumps(event)}\n\n".encode() if event else b": alive\n\n"


def interaction_view(interaction: Interaction) -> Json:
    """Return the parts of an interaction that its user may see."""
    shown: dict[str, Any] = {"id": interaction.id, "status": interaction.status}
    shown |= {"channel_id": interaction.channel["id"], "message_id": interaction.answer_id}
    return shown | {"modal": interaction.modal, "choices": interaction.choices}
