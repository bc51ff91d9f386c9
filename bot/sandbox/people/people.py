"""Carries out what users do: run commands, press buttons, post messages.

It refuses what a chat client would refuse.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bot.sandbox import interactions as types
from bot.sandbox.gateway import Event
from bot.sandbox.interactions import Interaction
from bot.sandbox.payloads import channel_payload, interaction_member, user_payload
from bot.sandbox.people.options import Resolved, find_command, nested, option_specs, refuse_large
from bot.sandbox.sandbox import Sandbox
from bot.sandbox.wire import MAX_FILE_BYTES, Json
from bot.sandbox.world import commands as kinds
from bot.sandbox.world import components as parts
from bot.sandbox.world import permissions
from bot.sandbox.world.attachments import FilePart
from bot.sandbox.world.messages import MAX_CONTENT, MessageDraft
from bot.sandbox.world.world import needed_to_send
from training.errors import NotFoundError, RequestError


@dataclass(frozen=True, slots=True)
class Place:
    """A user and the channel they act in."""

    user: Json
    channel: Json


class People:
    """Runs commands, uses components, submits modals and posts for a user."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox, self._world, self._messages = sandbox, sandbox.world, sandbox.messages

    def place(self, user_id: str, channel_id: str) -> Place:
        """Return a user in a channel; raise NotFoundError if the user cannot see it."""
        user, channel = self._world.users.get(user_id), self._world.channels.get(channel_id)
        if user is None or user["bot"]:
            raise NotFoundError("There is no such user.", "Choose one of the users.")
        if channel is None or not self._world.sees(user_id, channel):
            raise NotFoundError("There is no such channel.", "Choose one of the channels.")
        return Place(user, channel)

    def commands(self, place: Place) -> list[Json]:
        bits = self._world.permissions(place.user["id"], place.channel)
        found = self._sandbox.commands.usable_in(place.channel.get("guild_id"))
        own = {(c["name"], c["type"]) for c in found if c.get("guild_id")}
        shown = [c for c in found if c.get("guild_id") or (c["name"], c["type"]) not in own]
        return [c for c in shown if _is_permitted(c, bits)]

    def run(
        self, place: Place, name: str, given: Mapping[str, Any], uploads: Mapping[str, FilePart]
    ) -> Interaction:
        command, path = find_command(self.commands(place), name)
        resolved = Resolved(self._sandbox, place.channel)
        values = resolved.read_options(option_specs(command, path), given, uploads)
        data = _head(command) | {"options": nested(path, values)} | resolved.data()
        return self._send(types.COMMAND, place, data, name=name)

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
        return self._send(types.AUTOCOMPLETE, place, data)

    def menu(self, place: Place, name: str, message_id: str) -> Interaction:
        found = [
            c for c in self.commands(place) if c["type"] == kinds.MESSAGE_MENU and c["name"] == name
        ]
        if not found:
            raise NotFoundError(
                f"There is no message command '{name}'.", "Choose one of the offered commands."
            )
        resolved = Resolved(self._sandbox, place.channel)
        resolved.add_message(self._visible(place, message_id))
        data = _head(found[0]) | {"target_id": message_id} | resolved.data()
        return self._send(types.COMMAND, place, data, name=name)

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
            resolved = Resolved(self._sandbox, place.channel)
            for value in values or []:
                resolved.add_selected(component["type"], value)
            data |= {"values": values or []} | resolved.data()
        return self._send(types.COMPONENT, place, data, message)

    def submit(
        self,
        place: Place,
        opened: Interaction,
        values: Mapping[str, Any],
        uploads: Mapping[str, list[FilePart]],
    ) -> Interaction:
        if opened.modal is None or opened.user_id != place.user["id"]:
            raise NotFoundError("That form is no longer open.", "Run the command again.")
        resolved = Resolved(self._sandbox, place.channel)
        filled = resolved.fill(opened.modal, values, uploads)
        data: Json = {"custom_id": opened.modal["custom_id"], "components": filled}
        data |= resolved.data()
        return self._send(types.MODAL_SUBMIT, place, data, opened.message)

    def post(self, place: Place, content: str, uploads: list[FilePart]) -> Json:
        self._world.require(place.user["id"], place.channel, needed_to_send(place.channel))
        if len(content) > MAX_CONTENT:
            raise RequestError("The message is too long.", f"Use at most {MAX_CONTENT} characters.")
        refuse_large(*uploads)
        self._sandbox.threads.wake(place.channel, place.user["id"])
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
        return self._sandbox.threads.open_on(
            place.channel, message, {"name": name}, place.user["id"]
        )

    def _send(
        self, kind: int, place: Place, data: Json, message: Json | None = None, *, name: str = ""
    ) -> Interaction:
        """Send an interaction to the bot; the interaction fails at once if no bot is connected."""
        sandbox = self._sandbox
        user_id = place.user["id"]
        interaction = sandbox.interactions.open(kind, user_id, place.channel, data, message)
        interaction.name = name or interaction.name
        event = Event(name="INTERACTION_CREATE", data=self._payload(interaction), live_only=True)
        if not sandbox.gateway.is_live:
            sandbox.interactions.expire(interaction)
            return interaction
        sandbox.gateway.dispatch(event)
        if sandbox.faults.take_duplicate():
            sandbox.gateway.dispatch(event)
        return interaction

    def _payload(self, interaction: Interaction) -> Json:
        channel, world = interaction.channel, self._world
        bits = world.permissions(interaction.user_id, channel)
        shown = channel_payload(world, channel) | {"permissions": str(bits)}
        payload: Json = {
            "id": interaction.id,
            "application_id": world.application_id,
            "type": interaction.type,
            "token": interaction.token,
            "version": 1,
            "data": interaction.data,
            "channel": shown,
            "channel_id": channel["id"],
            "locale": "en-US",
            "app_permissions": str(world.permissions(world.bot["id"], channel)),
            "entitlements": [],
            "attachment_size_limit": MAX_FILE_BYTES,
        }
        if interaction.message is not None:
            payload["message"] = self._sandbox.views.message(interaction.message)
        return payload | self._who(interaction)

    def _who(self, interaction: Interaction) -> Json:
        channel = interaction.channel
        if "guild_id" not in channel:
            user = user_payload(self._world.user(interaction.user_id))
            return {"user": user, "context": 1, "authorizing_integration_owners": {"0": "0"}}
        guild_id = channel["guild_id"]
        guild: Json = {"id": guild_id, "locale": "en-US", "features": []}
        return {
            "guild_id": guild_id,
            "guild": guild,
            "guild_locale": "en-US",
            "member": interaction_member(self._world, channel, interaction.user_id),
            "context": 0,
            "authorizing_integration_owners": {"0": guild_id},
        }

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
