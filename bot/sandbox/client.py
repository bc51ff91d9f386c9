"""A sandbox user driven from Python, through the same HTTP API as the chat page."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

import httpx

from bot.sandbox.wire import EPHEMERAL, LOADING, Json
from bot.sandbox.world.components import FILE, texts_of, walk
from bot.service.threads import in_thread
from training.errors import NotFoundError, RequestError

Status = Literal["deferred", "answered", "modal", "failed"]


@dataclass(frozen=True, slots=True)
class Choice:
    """An autocomplete suggestion."""

    name: str
    value: str | int | float


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file attached to a message."""

    id: str
    filename: str
    size_bytes: int
    url: str
    content_type: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message as one person sees it; `raw` is the full payload."""

    id: str
    channel_id: str
    author: str
    content: str
    embeds: list[Json]
    components: list[Json]
    attachments: list[Attachment]
    edited: datetime | None
    created: datetime
    ephemeral: bool
    loading: bool
    interaction_id: str | None
    mentions: list[str]
    thread_id: str | None
    raw: Json = field(repr=False)

    @property
    def buttons(self) -> dict[str, Json]:
        """The buttons by label; a button without a label is keyed by its custom id or URL."""
        found = [c for _, c in walk(self.components, "") if c["type"] == 2]
        return {c.get("label") or c.get("custom_id") or c["url"]: c for c in found}

    @property
    def selects(self) -> dict[str, Json]:
        found = [c for _, c in walk(self.components, "") if c["type"] in (3, 5, 6, 7, 8)]
        return {c["custom_id"]: c for c in found}

    @property
    def title(self) -> str:
        """The first embed's title; without embeds, the first heading of a text component."""
        if self.embeds:
            return str(self.embeds[0].get("title", ""))
        texts = texts_of(self.components)
        headings = [text.splitlines()[0] for text in texts if text.startswith("### ")]
        return headings[0].removeprefix("### ") if headings else ""

    @property
    def text(self) -> str:
        """All text: content, text components and embeds, one part per line."""
        parts: list[Any] = [self.content]
        parts += texts_of(self.components)
        for embed in self.embeds:
            parts += [embed.get("title"), embed.get("description")]
            for one in embed.get("fields", []):
                parts += [one["name"], one["value"]]
            parts.append(embed.get("footer", {}).get("text"))
        return "\n".join(part for part in parts if part)


@dataclass(frozen=True, slots=True)
class Modal:
    """A dialog opened by the bot (Discord calls it a modal)."""

    interaction_id: str
    title: str
    custom_id: str
    components: list[Json]

    @property
    def inputs(self) -> dict[str, Json]:
        return {c["custom_id"]: c for _, c in walk(self.components, "") if c.get("custom_id")}

    @property
    def labels(self) -> dict[str, str]:
        """The custom ids of the inputs, by label."""
        found: dict[str, str] = {}
        for _, component in walk(self.components, ""):
            inner = component.get("component") or component
            if component.get("label") and inner.get("custom_id"):
                found[component["label"]] = inner["custom_id"]
        return found


@dataclass(frozen=True, slots=True)
class InteractionResult:
    """An interaction and how the bot acknowledged it."""

    id: str
    channel_id: str
    status: Status
    message_id: str | None
    modal: Modal | None
    choices: list[Choice]


def message_of(raw: Json) -> Message:
    edited = raw["edited_timestamp"]
    return Message(
        id=raw["id"],
        channel_id=raw["channel_id"],
        author=raw["author"]["global_name"] or raw["author"]["username"],
        content=raw["content"],
        embeds=raw["embeds"],
        components=raw["components"],
        attachments=[*map(_attachment, raw["attachments"]), *_files(raw["components"])],
        edited=datetime.fromisoformat(edited) if edited else None,
        created=datetime.fromisoformat(raw["timestamp"]),
        ephemeral=bool(raw["flags"] & EPHEMERAL),
        loading=bool(raw["flags"] & LOADING),
        interaction_id=raw.get("interaction_metadata", {}).get("id"),
        mentions=[user["global_name"] or user["username"] for user in raw["mentions"]],
        thread_id=raw.get("thread", {}).get("id"),
        raw=raw,
    )


def _files(components: list[Json]) -> list[Attachment]:
    files = [c for _, c in walk(components, "") if c["type"] == FILE]
    return [
        Attachment(str(c["id"]), str(c["name"]), int(c["size"]), str(c["file"]["url"]), None)
        for c in files
    ]


def _attachment(raw: Json) -> Attachment:
    kind = raw.get("content_type")
    return Attachment(raw["id"], raw["filename"], raw["size"], raw["url"], kind)


def interaction_of(raw: Json) -> InteractionResult:
    modal: Json | None = raw["modal"]
    opened = None
    if modal is not None:
        opened = Modal(raw["id"], modal["title"], modal["custom_id"], modal["components"])
    choices = [Choice(one["name"], one["value"]) for one in raw["choices"]]
    status, answer = raw["status"], raw["message_id"]
    return InteractionResult(raw["id"], raw["channel_id"], status, answer, opened, choices)


Option = str | int | float | bool | Path
Files = Sequence[tuple[str, Path]]


class NoResponseError(RequestError):
    """The bot did not respond in time."""


class SandboxUser:
    """One person in one channel.

    Names are resolved on first use.

    Args:
        page_url: The chat page's URL, secret included.
        user: Name or id.
        guild: Name or id.
        channel: Name or id of a channel or thread.
    """

    def __init__(
        self,
        page_url: str,
        *,
        user: str = "Ada",
        guild: str = "Studio A",
        channel: str = "training",
    ) -> None:
        parts = urlsplit(page_url)
        self._names = user, guild, channel
        self._ids: tuple[str, str] | None = None
        self._http = httpx.AsyncClient(
            base_url=f"{parts.scheme}://{parts.netloc}/sandbox/api/",
            headers={"Authorization": f"Bearer {parts.fragment}"},
            timeout=httpx.Timeout(30.0),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        await self._http.aclose()

    async def command(
        self, name: str, options: Mapping[str, Option] | None = None, *, channel: str | None = None
    ) -> InteractionResult:
        """Run a slash command, e.g. "dataset add"; an option that is a `Path` is uploaded.

        Returns when the bot acknowledges it, or after 3 seconds with `status` "failed".

        Raises:
            RequestError: A chat client would refuse to send the command.
        """
        given = options or {}
        values = {key: value for key, value in given.items() if not isinstance(value, Path)}
        files = [(key, value) for key, value in given.items() if isinstance(value, Path)]
        fields: Json = {"name": name, "options": values}
        return await self._act("command", fields, files, channel=channel)

    async def autocomplete(
        self,
        name: str,
        option: str,
        typed: str,
        options: Mapping[str, str | int | float | bool] | None = None,
    ) -> list[Choice]:
        """Return the bot's suggestions for an option in which `typed` has been typed."""
        fields: Json = {"name": name, "option": option, "typed": typed}
        fields["options"] = dict(options or {})
        return (await self._act("autocomplete", fields)).choices

    async def press(self, message: Message, label_or_custom_id: str) -> InteractionResult:
        """Press a button by label or custom id."""
        button = message.buttons.get(label_or_custom_id, {})
        custom_id = button.get("custom_id", label_or_custom_id)
        return await self._component(message, custom_id, None)

    async def select(
        self, message: Message, custom_id: str, values: Sequence[str]
    ) -> InteractionResult:
        return await self._component(message, custom_id, list(values))

    async def _component(
        self, message: Message, custom_id: str, values: list[str] | None
    ) -> InteractionResult:
        fields: Json = {"message": message.id, "custom_id": custom_id, "values": values}
        return await self._act("component", fields, channel=message.channel_id)

    async def submit(
        self, modal: Modal, values: Mapping[str, Option | Sequence[str] | Sequence[Path]]
    ) -> InteractionResult:
        """Submit a modal; `values` maps custom ids or labels to values, or to `Path`s for files."""
        fields: Json = {"interaction": modal.interaction_id, "values": {}}
        files: list[tuple[str, Path]] = []
        for key, value in values.items():
            custom_id = modal.labels.get(key, key)
            several: list[Any] = list(value) if isinstance(value, list | tuple) else [value]
            paths = [one for one in several if isinstance(one, Path)]
            files += [(custom_id, path) for path in paths]
            if not paths:
                fields["values"][custom_id] = value
        return await self._act("submit", fields, files)

    async def context(self, command: str, message: Message) -> InteractionResult:
        fields: Json = {"command": command, "message": message.id}
        return await self._act("menu", fields, channel=message.channel_id)

    async def post(
        self, text: str, attachments: Sequence[Path] = (), *, channel: str | None = None
    ) -> Message:
        files = [("files", path) for path in attachments]
        body = await self._send("post", {"content": text}, files, channel=channel)
        return message_of(body)

    async def open_thread(self, message: Message, name: str) -> str:
        """Start a thread on a message; return its id."""
        fields: Json = {"message": message.id, "name": name}
        return str((await self._send("thread", fields, (), channel=message.channel_id))["id"])

    async def messages(self, *, thread: str | None = None) -> list[Message]:
        """Return the messages that this user sees in the channel, or in `thread` (name or id)."""
        user, channel = await self._where(thread)
        body = await self._get("messages", user=user, channel=channel)
        return [message_of(raw) for raw in body["messages"]]

    async def reply(self, interaction: InteractionResult, *, timeout: float = 60) -> Message:  # noqa: ASYNC109
        """Wait for the bot's answer to an interaction and return it; a deferral is not an answer.

        Raises:
            NoResponseError: The bot did not respond.
            TimeoutError: There is no answer after `timeout` seconds.
        """

        def is_answer(event: Json) -> Json | None:
            found: Json = event.get("interaction", {})
            is_own = found.get("id") == interaction.id
            return found if is_own and found["status"] in ("answered", "failed") else None

        user, _ = await self._where()
        async with asyncio.timeout(timeout), self._events() as events:
            query = {"user": user, "interaction": interaction.id}
            state = is_answer({"interaction": await self._get("interaction", **query)})
            while state is None:
                state = is_answer(await anext(events))
        if state["status"] == "failed" or state["message_id"] is None:
            raise NoResponseError("The application did not respond.", "Try again in a moment.")
        return await self._message(str(state["message_id"]))

    async def _message(self, message_id: str) -> Message:
        for message in await self._feed():
            if message.id == message_id:
                return message
        raise NotFoundError("The message is gone.", "Reload the channel.")

    async def wait_for(self, predicate: Callable[[Message], bool], timeout: float = 60) -> Message:  # noqa: ASYNC109
        """Return a matching message from any visible channel, or wait until there is one.

        Raises:
            TimeoutError: Nothing matched in time.
        """
        async with asyncio.timeout(timeout), self._events() as events:
            for message in reversed(await self._feed()):
                if predicate(message):
                    return message
            async for event in events:
                if event["kind"] in ("message_create", "message_update"):
                    message = message_of(event["message"])
                    if predicate(message):
                        return message
        raise NotFoundError("The sandbox closed the stream.", "Restart the sandbox.")

    async def download(self, attachment: Attachment | str) -> bytes:
        url = attachment if isinstance(attachment, str) else attachment.url
        # Do not send the page's secret: a signed link must work for anyone who has the link.
        async with httpx.AsyncClient(timeout=30.0) as http:
            response = await http.get(url)
        if response.is_error:
            raise NotFoundError("The file is no longer available.", "Ask for a new link.")
        return response.content

    async def commands(self) -> list[Json]:
        user, channel = await self._where()
        found: list[Json] = (await self._get("commands", user=user, channel=channel))["commands"]
        return found

    async def _feed(self) -> list[Message]:
        user, _ = await self._where()
        body = await self._get("feed", user=user)
        return [message_of(raw) for raw in body["messages"]]

    @asynccontextmanager
    async def _events(self) -> AsyncGenerator[AsyncIterator[Json]]:
        user, _ = await self._where()
        timeout = httpx.Timeout(30.0, read=None)
        request = self._http.stream("GET", "stream", params={"user": user}, timeout=timeout)
        async with request as response:
            if response.is_error:
                await response.aread()
                _refuse(response)
            events = _events_of(response)
            await anext(events)  # Skip the event "ready"; from now on every change is streamed.
            yield events

    async def _where(self, channel: str | None = None) -> tuple[str, str]:
        if self._ids is not None and channel is None:
            return self._ids
        user, guild, own = self._names
        user_id = _user_id(await self._get("world"), user)
        # Request the world as this user, because each user sees different channels.
        world = await self._get("world", user=user_id)
        found = user_id, _channel_id(world, guild, channel or own)
        self._ids = self._ids or (found if channel is None else None)
        return found

    async def _act(
        self, path: str, fields: Json, files: Files = (), *, channel: str | None = None
    ) -> InteractionResult:
        return interaction_of(await self._send(path, fields, files, channel=channel))

    async def _send(self, path: str, fields: Json, files: Files, *, channel: str | None) -> Json:
        user, here = await self._where(channel)
        payload = json.dumps({"user": user, "channel": here, **fields})
        uploads = [(name, await in_thread(_named_bytes, file)) for name, file in files]
        # Send the payload as its own part, so that the request is multipart even without files.
        response = await self._http.post(path, files=[("payload", (None, payload)), *uploads])
        return _refuse(response)

    async def _get(self, path: str, **query: str) -> Json:
        return _refuse(await self._http.get(path, params=query))


def _named_bytes(file: Path) -> tuple[str, bytes]:
    return file.name, file.read_bytes()


def _refuse(response: httpx.Response) -> Json:
    body: Json = response.json()
    if response.is_error:
        kind = NotFoundError if response.status_code == 404 else RequestError
        raise kind(str(body["cause"]), str(body["fix"]))
    return body


async def _events_of(response: httpx.Response) -> AsyncIterator[Json]:
    async for line in response.aiter_lines():
        if line.startswith("data: "):
            yield json.loads(line.removeprefix("data: "))


def _user_id(world: Json, name: str) -> str:
    for user in world["users"]:
        if name in (user["id"], user["global_name"]):
            return str(user["id"])
    raise NotFoundError(f"There is no user '{name}'.", "Use Ada, Ben or Cleo.")


def _channel_id(world: Json, guild: str, name: str) -> str:
    # Search the newest thread first: if several have the same name, the newest one is meant.
    for found in world["guilds"]:
        if guild in (found["id"], found["name"]):
            for channel in [*found["channels"], *reversed(found["threads"])]:
                if name in (channel["id"], channel["name"]):
                    return str(channel["id"])
    if any(name == channel["id"] for channel in world["dms"]):
        return name
    raise NotFoundError(
        f"There is no channel '{name}' in '{guild}'.", "Open the chat page to see the channels."
    )
