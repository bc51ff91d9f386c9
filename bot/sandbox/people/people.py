"""What people can do; refuses what a chat client would refuse."""

from collections.abc import Mapping
from typing import Any

from bot.sandbox import interactions as types
from bot.sandbox.interactions import Interaction
from bot.sandbox.people.options import OptionReader, find_command, nested, option_specs
from bot.sandbox.people.outbox import Outbox, Place
from bot.sandbox.people.resolved import Resolved
from bot.sandbox.wire import Json
from bot.sandbox.world import commands as kinds
from bot.sandbox.world import components as parts
from bot.sandbox.world import permissions
from bot.sandbox.world.attachments import Attachments, FilePart
from bot.sandbox.world.commands import Commands
from bot.sandbox.world.message_rules import MAX_CONTENT
from bot.sandbox.world.messages import MessageDraft, Messages
from bot.sandbox.world.threads import Threads
from bot.sandbox.world.world import World, needed_to_send
from training.errors import NotFoundError, RequestError


class People:
    """Runs commands, uses components, submits modals and posts for a user."""

    def __init__(
        self,
        world: World,
        commands: Commands,
        messages: Messages,
        threads: Threads,
        attachments: Attachments,
        outbox: Outbox,
    ) -> None:
        self._world, self._commands, self._messages = world, commands, messages
        self._threads, self._attachments, self._outbox = threads, attachments, outbox

    def place(self, user_id: str, channel_id: str) -> Place:
        """Return a user in a channel they can see; raises NotFoundError."""
        user, channel = self._world.users.get(user_id), self._world.channels.get(channel_id)
        if user is None or user["bot"]:
            raise NotFoundError("There is no such user.", "Choose one of the users.")
        if channel is None or not self._world.sees(user_id, channel):
            raise NotFoundError("There is no such channel.", "Choose one of the channels.")
        return Place(user, channel)

    def commands(self, place: Place) -> list[Json]:
        """Return the commands available to the user in the channel."""
        bits = self._world.permissions(place.user["id"], place.channel)
        found = self._commands.usable_in(place.channel.get("guild_id"))
        own = {(c["name"], c["type"]) for c in found if c.get("guild_id")}
        shown = [c for c in found if c.get("guild_id") or (c["name"], c["type"]) not in own]
        return [c for c in shown if _is_permitted(c, bits)]

    def run(
        self, place: Place, name: str, given: Mapping[str, Any], uploads: Mapping[str, FilePart]
    ) -> Interaction:
        command, path = find_command(self.commands(place), name)
        resolved = self._resolved(place)
        reader = OptionReader(uploads, resolved.add)
        values = reader.read(option_specs(command, path), given)
        for value in values:
            if value["type"] == kinds.ATTACHMENT:
                value["value"] = resolved.add_file(uploads[value["name"]])
        data = _head(command) | {"options": nested(path, values)} | resolved.data()
        data["name"] = command["name"]
        return self._outbox.send(types.COMMAND, place, data, name=name)

    def complete(
        self, place: Place, name: str, option: str, typed: str, given: Mapping[str, Any]
    ) -> Interaction:
        """Request suggestions for the option being typed."""
        command, path = find_command(self.commands(place), name)
        specs = option_specs(command, path)
        spec = next((one for one in specs if one["name"] == option), None)
        if spec is None or not spec.get("autocomplete"):
            raise RequestError(f"'{option}' offers no suggestions.", "Type the value in full.")
        values: list[Json] = [
            {"name": one["name"], "type": one["type"], "value": given[one["name"]]}
            for one in specs
            if one["name"] in given and one["name"] != option
        ]
        focused = {"name": option, "type": spec["type"], "value": typed, "focused": True}
        data = _head(command) | {"options": nested(path, [*values, focused])}
        return self._outbox.send(types.AUTOCOMPLETE, place, data)

    def menu(self, place: Place, name: str, message_id: str) -> Interaction:
        found = [
            c for c in self.commands(place) if c["type"] == kinds.MESSAGE_MENU and c["name"] == name
        ]
        if not found:
            raise NotFoundError(f"There is no message command '{name}'.", "Choose one offered.")
        resolved = self._resolved(place)
        resolved.add_message(self._visible(place, message_id))
        data = _head(found[0]) | {"target_id": message_id} | resolved.data()
        return self._outbox.send(types.COMMAND, place, data, name=name)

    def use(
        self, place: Place, message_id: str, custom_id: str, values: list[str] | None
    ) -> Interaction:
        """Press a button, or choose values in a select."""
        message = self._visible(place, message_id)
        component = parts.find(message["components"], custom_id)
        if component is None:
            raise NotFoundError(
                "The message has no such button.", "Choose a button on the message."
            )
        if component.get("disabled"):
            raise RequestError("The button is disabled.", "Wait until it is enabled.")
        data: Json = {"custom_id": custom_id, "component_type": component["type"]}
        data["id"] = component["id"]
        if component["type"] in parts.SELECTS:
            if refusal := parts.check_selection(component, values or []):
                raise RequestError(refusal, "Choose again.")
            resolved = self._resolved(place)
            for value in values or []:
                resolved.add_selected(component["type"], value)
            data |= {"values": values or []} | resolved.data()
        return self._outbox.send(types.COMPONENT, place, data, message)

    def submit(
        self,
        place: Place,
        opened: Interaction,
        values: Mapping[str, Any],
        uploads: Mapping[str, list[FilePart]],
    ) -> Interaction:
        """Submit a modal."""
        if opened.modal is None or opened.user_id != place.user["id"]:
            raise NotFoundError("That form is no longer open.", "Run the command again.")
        resolved = self._resolved(place)
        filled = resolved.fill(opened.modal, values, uploads)
        data: Json = {"custom_id": opened.modal["custom_id"], "components": filled}
        data |= resolved.data()
        return self._outbox.send(types.MODAL_SUBMIT, place, data, opened.message)

    def post(self, place: Place, content: str, uploads: list[FilePart]) -> Json:
        self._world.require(place.user["id"], place.channel, needed_to_send(place.channel))
        if len(content) > MAX_CONTENT:
            raise RequestError("The message is too long.", f"Use at most {MAX_CONTENT} characters.")
        if any(upload.is_too_large for upload in uploads):
            raise RequestError("Your files are too powerful.", "A file may have at most 10 MiB.")
        self._threads.wake(place.channel)
        draft = MessageDraft(
            channel=place.channel,
            author_id=place.user["id"],
            body={"content": content},
            uploads=dict(enumerate(uploads)),
        )
        return self._messages.create(draft)

    def open_thread(self, place: Place, message_id: str, name: str) -> Json:
        """Start a thread on a non-ephemeral message; return the thread."""
        self._world.require(place.user["id"], place.channel, permissions.CREATE_PUBLIC_THREADS)
        message = self._visible(place, message_id)
        if message["ephemeral_for"]:
            raise RequestError(
                "Only you can see this message.", "Start the thread on another message."
            )
        return self._threads.open_on(place.channel, message, {"name": name}, place.user["id"])

    def _resolved(self, place: Place) -> Resolved:
        return Resolved(self._world, self._attachments, self._outbox.views, place.channel)

    def _visible(self, place: Place, message_id: str) -> Json:
        seen = self._messages.seen_by(place.user["id"], {place.channel["id"]})
        for message in seen:
            if message["id"] == message_id:
                return message
        raise NotFoundError("The message no longer exists.", "Reload the channel.")


def _head(command: Json) -> Json:
    head: Json = {key: command[key] for key in ("id", "name", "type")}
    if guild_id := command.get("guild_id"):
        head["guild_id"] = guild_id
    return head


def _is_permitted(command: Json, bits: int) -> bool:
    needed = command["default_member_permissions"]
    if needed is None or bits & permissions.ADMINISTRATOR:
        return True
    return int(needed) != 0 and int(needed) & bits == int(needed)
