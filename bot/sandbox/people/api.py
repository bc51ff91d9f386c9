"""The HTTP API behind the chat page and the Python client."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, cast

from aiohttp import BodyPartReader, web

from bot.sandbox.interactions import Interaction, Interactions
from bot.sandbox.payloads import Views, channel_payload, roles_payload, thread_payload, user_payload
from bot.sandbox.people.outbox import Place
from bot.sandbox.people.people import People
from bot.sandbox.people.stream import Stream, interaction_view
from bot.sandbox.wire import ApiError, Json
from bot.sandbox.world.attachments import FilePart
from bot.sandbox.world.messages import Messages
from bot.sandbox.world.world import DM, World
from training.errors import NotFoundError, RequestError, TrainingError

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

    def __init__(
        self,
        world: World,
        people: People,
        messages: Messages,
        views: Views,
        interactions: Interactions,
        stream: Stream,
    ) -> None:
        self._world, self._people, self._messages = world, people, messages
        self._views, self._interactions, self._stream = views, interactions, stream

    def install(self, app: web.Application) -> None:
        """Add the routes to `app`."""
        reads = {
            "world": self.world,
            "commands": self.commands,
            "messages": self.messages,
            "feed": self.feed,
            "interaction": self.interaction,
        }
        for name, read in reads.items():
            app.router.add_get(f"{BASE}/{name}", _reading(read))
        acts = {
            "command": self.command,
            "autocomplete": self.autocomplete,
            "component": self.component,
            "submit": self.submit,
            "menu": self.menu,
        }
        for name, act in acts.items():
            app.router.add_post(f"{BASE}/{name}", self._acting(act))
        app.router.add_post(f"{BASE}/post", _posting(self.post))
        app.router.add_post(f"{BASE}/thread", _posting(self.thread))
        app.router.add_get(f"{BASE}/stream", self.stream)

    def _place(self, form: Form) -> Place:
        return self._people.place(form.text("user"), form.text("channel"))

    def world(self, form: Form) -> Json:
        """Return all users, and the guilds, channels and threads the user can see."""
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
        """Return the commands available to the user in the channel."""
        return {"commands": self._people.commands(self._place(form))}

    def messages(self, form: Form) -> Json:
        """Return the newest messages of a channel or thread, oldest first."""
        place = self._place(form)
        found = self._messages.seen_by(place.user["id"], {place.channel["id"]})
        shown = found[-200:]
        if form.fields.get("starter") and place.channel["id"] in self._messages:
            # Clients show the message a thread was started on above the thread.
            shown = [self._messages.find(place.channel["id"]), *shown]
        return {"messages": [self._views.message(message) for message in shown]}

    def feed(self, form: Form) -> Json:
        """Return the newest messages across the user's channels, oldest first."""
        user_id = form.text("user")
        ids = {c["id"] for c in self._world.channels.values() if self._world.sees(user_id, c)}
        found = self._messages.seen_by(user_id, ids)
        return {"messages": [self._views.message(message) for message in found[-500:]]}

    def interaction(self, form: Form) -> Json:
        """Return the state of the user's interaction."""
        return interaction_view(self._own(form))

    def _own(self, form: Form) -> Interaction:
        interaction = self._interactions.get(form.text("interaction"))
        if interaction.user_id != form.text("user"):
            raise NotFoundError("That interaction is another user's.", "Use one of your own.")
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

    async def stream(self, request: web.Request) -> web.StreamResponse:
        return await self._stream.serve(request, request.query.get("user", ""))

    def _acting(self, act: Callable[[Form], Interaction]) -> "_Handler":
        async def handle(request: web.Request) -> web.StreamResponse:
            try:
                interaction = act(await _form(request))
            except (TrainingError, ApiError) as error:
                return _refused(error)
            # Like a client, wait until the bot acknowledges or 3 seconds pass.
            await interaction.acknowledged.wait()
            return web.json_response(interaction_view(interaction))

        return handle


_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def _reading(read: Callable[[Form], Json]) -> _Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            return web.json_response(read(Form(dict(request.query))))
        except (TrainingError, ApiError) as error:
            return _refused(error)

    return handle


def _posting(act: Callable[[Form], Json]) -> _Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            return web.json_response(act(await _form(request)))
        except (TrainingError, ApiError) as error:
            return _refused(error)

    return handle


def _refused(error: TrainingError | ApiError) -> web.StreamResponse:
    if isinstance(error, TrainingError):
        status = 404 if isinstance(error, NotFoundError) else 400
        return web.json_response({"cause": error.cause, "fix": error.fix}, status=status)
    body = {"cause": f"{error.message} ({error.code}).", "fix": "Change it and try again."}
    return web.json_response(body, status=400)


def _fields(text: bytes) -> Json:
    try:
        loaded: Any = json.loads(text)
    except ValueError as error:
        raise RequestError("The request is not valid JSON.", "Send a JSON object.") from error
    if not isinstance(loaded, dict):
        raise RequestError("The request is not a JSON object.", "Send a JSON object.")
    return cast("Json", loaded)


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
