"""The HTTP API behind the chat page and the Python client."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import BodyPartReader, ClientConnectionResetError, web
from pydantic import TypeAdapter, ValidationError

from bot.sandbox.interactions import Interaction
from bot.sandbox.payloads import channel_payload, roles_payload, thread_payload, user_payload
from bot.sandbox.people.people import People, Place
from bot.sandbox.sandbox import Sandbox
from bot.sandbox.wire import ApiError, Json
from bot.sandbox.world.attachments import FilePart
from bot.sandbox.world.world import DM, Change
from training.errors import NotFoundError, RequestError, TrainingError

logger = logging.getLogger(__name__)

_KEEP_ALIVE_SECONDS = 15.0
_OBJECT: TypeAdapter[Json] = TypeAdapter(dict[str, Any])
_CHANNEL_KINDS = ("thread_create", "thread_update", "thread_delete")


class Stream:
    """Sends changes to every open page."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox, self._world = sandbox, sandbox.world
        self._open: dict[asyncio.Queue[Json | None], str] = {}
        sandbox.changes.listeners.append(self._queue)

    def _queue(self, change: Change) -> None:
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
            shown = interaction_view(self._sandbox.interactions.get(record["id"]))
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
        return {"kind": kind, "message": self._sandbox.views.message(message)}

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Write events until the page disconnects or the server stops."""
        response = web.StreamResponse(headers={"Cache-Control": "no-store"})
        response.content_type = "text/event-stream"
        await response.prepare(request)
        queue: asyncio.Queue[Json | None] = asyncio.Queue()
        self._open[queue] = request.query.get("user", "")
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


BASE = "/sandbox/api"


@dataclass(slots=True)
class Form:
    """A parsed request: fields, and files by option or input name."""

    fields: Json
    files: dict[str, list[FilePart]] = field(default_factory=dict[str, list[FilePart]])

    def text(self, name: str) -> str:
        """Return a required text field."""
        value = self.fields.get(name)
        if not isinstance(value, str):
            raise RequestError(f"The field '{name}' is missing.", "Send it as text.")
        return value


class PersonApi:
    """Routes under /sandbox/api."""

    def __init__(self, sandbox: Sandbox, stream: Stream) -> None:
        self._world, self._messages, self._views = (
            sandbox.world,
            sandbox.messages,
            sandbox.views,
        )
        self._interactions, self._stream = sandbox.interactions, stream
        self._people = People(sandbox)

    def install(self, app: web.Application) -> None:
        """Add a route for each method below; the path ends with the method's name."""
        for read in (self.world, self.commands, self.messages, self.feed, self.interaction):
            app.router.add_get(f"{BASE}/{read.__name__}", _served(read))
        acts = (self.command, self.autocomplete, self.component, self.submit, self.menu)
        for act in (*acts, self.post, self.thread):
            app.router.add_post(f"{BASE}/{act.__name__}", _served(act))
        app.router.add_get(f"{BASE}/stream", self._stream.serve)

    def _place(self, form: Form) -> Place:
        return self._people.place(form.text("user"), form.text("channel"))

    def world(self, form: Form) -> Json:
        """Return all users, and the guilds, channels and threads that one user can see."""
        users = [user_payload(user) for user in self._world.users.values()]
        people = [str(user["id"]) for user in users if not user["bot"]]
        asked = str(form.fields.get("user"))
        user_id = asked if asked in people else people[0]
        guilds = [
            {
                "id": guild["id"],
                "name": guild["name"],
                "roles": roles_payload(guild),
                "my_roles": guild["members"][user_id]["roles"],
                "channels": self._shown(user_id, self._world.channels_of(guild["id"])),
                "threads": self._shown(user_id, self._world.threads_of(guild["id"])),
            }
            for guild in self._world.guilds.values()
            if user_id in guild["members"]
        ]
        dms = [c for c in self._world.channels.values() if c["type"] == DM]
        return {"users": users, "guilds": guilds, "dms": self._shown(user_id, dms)}

    def _shown(self, user_id: str, channels: list[Json]) -> list[Json]:
        seen = [channel for channel in channels if self._world.sees(user_id, channel)]
        return [channel_payload(self._world, channel) for channel in seen]

    def commands(self, form: Form) -> Json:
        return {"commands": self._people.commands(self._place(form))}

    def messages(self, form: Form) -> Json:
        """Return the newest messages of a channel or thread, oldest first."""
        place = self._place(form)
        found = self._messages.seen_by(place.user["id"], {place.channel["id"]})
        shown = found[-200:]
        if form.fields.get("starter") and place.channel["id"] in self._messages:
            # Above a thread's messages, clients show the message from which the thread was started.
            shown = [self._messages.find(place.channel["id"]), *shown]
        return {"messages": [self._views.message(message) for message in shown]}

    def feed(self, form: Form) -> Json:
        """Return the newest messages across the user's channels, oldest first."""
        user_id = form.text("user")
        ids = {c["id"] for c in self._world.channels.values() if self._world.sees(user_id, c)}
        found = self._messages.seen_by(user_id, ids)
        return {"messages": [self._views.message(message) for message in found[-500:]]}

    def interaction(self, form: Form) -> Json:
        return interaction_view(self._own(form))

    def _own(self, form: Form) -> Interaction:
        interaction = self._interactions.get(form.text("interaction"))
        if interaction.user_id != form.text("user"):
            raise NotFoundError(
                "That interaction is another user's.", "Use an interaction of your own."
            )
        return interaction

    def command(self, form: Form) -> Interaction:
        files = {name: uploads[0] for name, uploads in form.files.items()}
        options: Json = form.fields.get("options") or {}
        return self._people.run(self._place(form), form.text("name"), options, files)

    def autocomplete(self, form: Form) -> Interaction:
        options: Json = form.fields.get("options") or {}
        names = form.text("name"), form.text("option"), form.text("typed")
        return self._people.complete(self._place(form), *names, options)

    def component(self, form: Form) -> Interaction:
        ids = form.text("message"), form.text("custom_id")
        return self._people.use(self._place(form), *ids, form.fields.get("values"))

    def submit(self, form: Form) -> Interaction:
        opened = self._own(form)
        values: Json = form.fields.get("values") or {}
        return self._people.submit(self._place(form), opened, values, form.files)

    def menu(self, form: Form) -> Interaction:
        return self._people.menu(self._place(form), form.text("command"), form.text("message"))

    def post(self, form: Form) -> Json:
        uploads = [upload for several in form.files.values() for upload in several]
        message = self._people.post(self._place(form), form.text("content"), uploads)
        return self._views.message(message)

    def thread(self, form: Form) -> Json:
        name = form.text("name").strip()
        return thread_payload(
            self._people.open_thread(self._place(form), form.text("message"), name)
        )


def _served(
    act: Callable[[Form], Json | Interaction],
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            form = Form(dict(request.query)) if request.method == "GET" else await _form(request)
            result = act(form)
        except (TrainingError, ApiError) as error:
            return _refused(error)
        if isinstance(result, Interaction):
            # Like a client, wait until the bot acknowledges or 3 seconds pass.
            await result.acknowledged.wait()
            result = interaction_view(result)
        return web.json_response(result)

    return handle


def _refused(error: TrainingError | ApiError) -> web.StreamResponse:
    if isinstance(error, TrainingError):
        status = 404 if isinstance(error, NotFoundError) else 400
        return web.json_response({"cause": error.cause, "fix": error.fix}, status=status)
    body = {"cause": f"{error.message} ({error.code}).", "fix": "Correct your input and try again."}
    return web.json_response(body, status=400)


def _fields(text: bytes) -> Json:
    try:
        return _OBJECT.validate_json(text)
    except ValidationError as error:
        raise RequestError("The request is not a JSON object.", "Send a JSON object.") from error


async def _form(request: web.Request) -> Form:
    if request.content_type != "multipart/form-data":
        return Form(_fields(await request.read()))
    form = Form({})
    async for part in await request.multipart():
        if not isinstance(part, BodyPartReader) or not part.name:
            continue
        content = bytes(await part.read())
        if part.name == "payload":
            form.fields = _fields(content)
        else:
            upload = FilePart(part.filename or "file", content)
            form.files.setdefault(part.name, []).append(upload)
    return form
