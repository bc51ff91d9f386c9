"""Resolved data of an interaction: the objects behind the ids it carries."""

from collections.abc import Mapping
from typing import Any

from bot.sandbox.payloads import (
    Views,
    channel_payload,
    interaction_member,
    role_payload,
    user_payload,
)
from bot.sandbox.wire import ApiError, Json
from bot.sandbox.world import commands as kinds
from bot.sandbox.world import components as parts
from bot.sandbox.world.attachments import Attachments, FilePart
from bot.sandbox.world.world import World
from training.errors import NotFoundError, RequestError

_CHECKBOX = 23
_OF_SELECT = {5: kinds.USER, 6: kinds.ROLE, 7: kinds.MENTIONABLE, 8: kinds.CHANNEL}


class Resolved:
    """Builds the `resolved` field of one interaction."""

    def __init__(self, world: World, attachments: Attachments, views: Views, channel: Json) -> None:
        self._world, self._attachments = world, attachments
        self._views, self._channel = views, channel
        self._found: Json = {}

    def data(self) -> Json:
        """Return `{"resolved": …}`, or an empty dict if nothing was added."""
        return {"resolved": self._found} if self._found else {}

    def add(self, kind: int, thing_id: str) -> None:
        """Add the object behind an option's id; raises NotFoundError if it does not exist."""
        try:
            self._add(kind, thing_id)
        except ApiError as error:
            raise NotFoundError(f"{error.message}: {thing_id}.", "Choose one offered.") from error

    def add_selected(self, component_type: int, value: str) -> None:
        """Add the object behind a value of a user, role or channel select."""
        if component_type in _OF_SELECT:
            self.add(_OF_SELECT[component_type], value)

    def add_file(self, upload: FilePart) -> str:
        """Store an uploaded file and return its id."""
        record = self._attachments.store(upload, self._channel["id"])
        payload = self._attachments.payload(record, is_ephemeral=True)
        self._put("attachments", record["id"], payload)
        return str(record["id"])

    def add_message(self, message: Json) -> None:
        """Add the target of a context-menu command."""
        self._put("messages", message["id"], self._views.message(message))

    def _put(self, section: str, thing_id: str, payload: Json) -> None:
        self._found.setdefault(section, {})[thing_id] = payload

    def _add(self, kind: int, thing_id: str) -> None:
        if kind == kinds.MENTIONABLE:
            kind = kinds.USER if thing_id in self._world.users else kinds.ROLE
        if kind == kinds.USER:
            self._put("users", thing_id, user_payload(self._world.user(thing_id)))
            if "guild_id" in self._channel:
                member = interaction_member(self._world, self._channel, thing_id)
                del member["user"]
                self._put("members", thing_id, member)
        elif kind == kinds.ROLE:
            role = self._world.role(self._channel.get("guild_id", ""), thing_id)
            self._put("roles", thing_id, role_payload(role, 1))
        elif kind == kinds.CHANNEL:
            channel = self._world.channel(thing_id)
            bits = self._world.permissions(self._world.bot["id"], channel)
            shown = channel_payload(self._world, channel) | {"permissions": str(bits)}
            self._put("channels", thing_id, shown)

    def fill(
        self, modal: Json, values: Mapping[str, Any], uploads: Mapping[str, list[FilePart]]
    ) -> list[Json]:
        """Return the submitted components; raises RequestError if a client would refuse."""
        known = {component["custom_id"] for component in parts.inputs_of(modal)}
        if strange := [name for name in (*values, *uploads) if name not in known]:
            raise RequestError(
                f"The form has no input '{strange[0]}'.", f"It has: {', '.join(sorted(known))}."
            )
        return [self._filled(one, values, uploads) for one in parts.numbered(modal["components"])]

    def _filled(
        self, component: Json, values: Mapping[str, Any], uploads: Mapping[str, list[FilePart]]
    ) -> Json:
        head: Json = {"type": component["type"], "id": component["id"]}
        if component["type"] == parts.ACTION_ROW:
            children = [self._filled(one, values, uploads) for one in component["components"]]
            return head | {"components": children}
        if component["type"] == parts.LABEL:
            return head | {"component": self._filled(component["component"], values, uploads)}
        if "custom_id" not in component:
            return head
        custom_id = component["custom_id"]
        head["custom_id"] = custom_id
        if component["type"] == parts.FILE_UPLOAD:
            return head | {"values": self._files(component, uploads.get(custom_id, []))}
        return head | self._value(component, values.get(custom_id))

    def _files(self, component: Json, uploads: list[FilePart]) -> list[str]:
        if refusal := parts.check_selection(component, [upload.filename for upload in uploads]):
            raise RequestError(refusal, "Choose other files.")
        if any(upload.is_too_large for upload in uploads):
            raise RequestError("Your files are too powerful.", "A file may have at most 10 MiB.")
        return [self.add_file(upload) for upload in uploads]

    def _value(self, component: Json, value: Any) -> Json:
        kind = component["type"]
        if kind == parts.TEXT_INPUT:
            return {"value": _text(component, value)}
        if kind == _CHECKBOX:
            return {"value": bool(component.get("default") if value is None else value)}
        chosen: list[str] = [value] if isinstance(value, str) else list(value or [])
        if refusal := parts.check_selection(component, chosen):
            raise RequestError(refusal, "Choose again.")
        for one in chosen:
            self.add_selected(kind, one)
        return {"value": chosen[0] if chosen else None} if kind == 21 else {"values": chosen}


def _text(component: Json, value: Any) -> str:
    text = str(component.get("value") or "" if value is None else value)
    label = component.get("label") or component["custom_id"]
    if not text and component.get("required") is not False:
        raise RequestError(f"'{label}' is empty.", "Fill it in.")
    low, high = component.get("min_length") or 0, component.get("max_length") or 4000
    if text and not low <= len(text) <= high:
        raise RequestError(f"'{label}' has {len(text)} characters.", f"Use {low} to {high}.")
    return text
