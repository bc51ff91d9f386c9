"""Sends answers to interactions again when the connection was lost, or Discord was unavailable.

discord.py itself repeats a request only after certain HTTP statuses, which do not include 503, and
after connection resets with the error numbers of macOS and Windows, but not that of Linux.
"""

import asyncio
from typing import Any

import aiohttp
import discord
from discord.http import Route
from discord.webhook.async_ import AsyncWebhookAdapter, async_context

_PAUSES_SECONDS = (0.1, 0.5)  # an interaction must be acknowledged within 3 s
_LATER_SECONDS = (0.1, 0.5, 2.0, 8.0)  # once acknowledged, it must be answered within 15 minutes
_CALLBACK = "/callback"
_ACKNOWLEDGED = 40060
_UNAVAILABLE = 503
_LOST = (aiohttp.ClientConnectionError, ConnectionError)


class PersistentAdapter(AsyncWebhookAdapter):
    """Repeats failed requests, except where a repetition could send a message twice."""

    async def request(self, route: Route, session: aiohttp.ClientSession, **options: Any) -> Any:
        is_callback = route.path.endswith(_CALLBACK)
        was_lost = False
        for pause_seconds in (*(_PAUSES_SECONDS if is_callback else _LATER_SECONDS), None):
            try:
                return await super().request(route, session, **options)
            except (*_LOST, discord.HTTPException) as error:
                if is_callback and was_lost and getattr(error, "code", None) == _ACKNOWLEDGED:
                    return _acknowledged(route)
                if pause_seconds is None or not _may_repeat(route, error):
                    raise
                was_lost = was_lost or isinstance(error, _LOST)
                for file in options.get("files") or ():
                    file.reset(seek=True)
            await asyncio.sleep(pause_seconds)
        raise ValueError("the last try neither returned nor raised")


def _may_repeat(route: Route, error: Exception) -> bool:
    if isinstance(error, discord.HTTPException):
        return error.status == _UNAVAILABLE  # Discord has not handled the request
    was_never_sent = isinstance(error, aiohttp.ClientConnectorError)
    return was_never_sent or route.method != "POST" or route.path.endswith(_CALLBACK)


def is_outage(error: BaseException) -> bool:
    """Return whether Discord could not be reached, or could not serve a request."""
    if isinstance(error, discord.HTTPException):
        return error.status >= 500
    return isinstance(error, _LOST)


def send_persistently() -> None:
    """Use `PersistentAdapter` in the current task and in the tasks that it starts."""
    async_context.set(PersistentAdapter())


def _acknowledged(route: Route) -> Any:
    """Return a substitute for Discord's lost response, with the parts of it that are known."""
    return {"interaction": {"id": str(route.webhook_id), "type": 2}}
