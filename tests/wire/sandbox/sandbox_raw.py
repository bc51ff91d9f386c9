"""A client that does what a wrong bot would do: bare HTTP and a bare WebSocket."""

import io
import json
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from bot.sandbox.server import SandboxServer

Json = dict[str, Any]


class Watch:
    """The real time plus what a test adds."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


class RawBot:
    """Speaks REST with the bot's token; returns status and body of everything."""

    def __init__(self, server: SandboxServer, http: aiohttp.ClientSession) -> None:
        self.server, self.http = server, http
        self.channel = next(c["id"] for c in server.world.channels.values() if c["type"] == 0)
        self.guild = server.world.channels[self.channel]["guild_id"]
        self.headers: dict[str, str] = {}

    async def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        url = self.server.api_base + path
        token = {"Authorization": f"Bot {self.server.bot_token}"}
        is_form = isinstance(body, aiohttp.FormData)
        extra: Json = {"data": body} if is_form else {"json": body} if body is not None else {}
        async with self.http.request(method, url, headers=token, **extra) as response:
            self.headers = dict(response.headers)
            text = await response.text()
            return response.status, json.loads(text) if text else None

    async def send(self, **body: Any) -> tuple[int, Any]:
        return await self.call("POST", f"/channels/{self.channel}/messages", body)

    async def upload(self, name: str, data: bytes, **body: Any) -> tuple[int, Any]:
        form = aiohttp.FormData(quote_fields=False)
        form.add_field("payload_json", json.dumps(body))
        form.add_field("files[0]", io.BytesIO(data), filename=name)
        return await self.call("POST", f"/channels/{self.channel}/messages", form)

    async def register(self, *commands: Json) -> tuple[int, Any]:
        application = self.server.world.application_id
        path = f"/applications/{application}/guilds/{self.guild}/commands"
        return await self.call("PUT", path, list(commands))

    @asynccontextmanager
    async def gateway(self) -> AsyncGenerator["RawSocket"]:
        async with self.http.ws_connect(self.server.gateway_url) as socket:
            yield RawSocket(self.server, socket)


class RawSocket:
    """A gateway connection without compression."""

    def __init__(self, server: SandboxServer, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.server, self.socket = server, socket

    async def next(self, op: int | None = None) -> Json:
        while True:
            payload: Json = await self.socket.receive_json(timeout=60)
            if op is None or payload["op"] == op:
                return payload

    async def event(self, name: str) -> Json:
        while True:
            payload = await self.next(0)
            if payload["t"] == name:
                return payload

    async def identify(self, intents: int = 1, token: str | None = None) -> None:
        data: Json = {"token": token or self.server.bot_token, "intents": intents, "properties": {}}
        await self.socket.send_json({"op": 2, "d": data})

    async def resume(self, session_id: str, sequence: int) -> None:
        data: Json = {"token": self.server.bot_token, "session_id": session_id, "seq": sequence}
        await self.socket.send_json({"op": 6, "d": data})

    async def close_code(self) -> int | None:
        while not self.socket.closed:
            await self.socket.receive(timeout=60)
        return self.socket.close_code
