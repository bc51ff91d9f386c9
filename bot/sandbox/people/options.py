"""Validates and converts what people fill in, as a chat client does before sending."""

from collections.abc import Mapping
from typing import Any

from bot.sandbox.payloads import (
    channel_payload,
    interaction_member,
    role_payload,
    user_payload,
)
from bot.sandbox.sandbox import Sandbox
from bot.sandbox.wire import ApiError, Json
from bot.sandbox.world import commands as kinds
from bot.sandbox.world import components as parts
from bot.sandbox.world.attachments import FilePart
from training.errors import NotFoundError, RequestError

_MOST_CHARACTERS = 6000


def find_command(commands: list[Json], name: str) -> tuple[Json, list[Json]]:
    """Return the command in `name` (such as "dataset add"), and its sub-commands in order."""
    first, *rest = name.split()
    found = [c for c in commands if c["type"] == kinds.CHAT_INPUT and c["name"] == first]
    if not found:
        raise NotFoundError(f"There is no command /{first} here.", "Type / to see the commands.")
    # A guild command hides the global one of the same name.
    command = found[-1]
    path: list[Json] = []
    options: list[Json] = command["options"]
    for part in rest:
        nested = [o for o in options if o["type"] in (1, 2) and o["name"] == part]
        if not nested:
            raise NotFoundError(f"There is no command /{name}.", "Type / to see the commands.")
        path.append(nested[0])
        options = nested[0].get("options", [])
    if any(option["type"] in (1, 2) for option in options):
        names = ", ".join(option["name"] for option in options)
        raise RequestError(f"/{name} is a group.", f"Choose one of its commands: {names}.")
    return command, path


def option_specs(command: Json, path: list[Json]) -> list[Json]:
    """Return the options of the command, or of the last sub-command in the path."""
    return path[-1].get("options", []) if path else command["options"]


def nested(path: list[Json], values: list[Json]) -> list[Json]:
    """Wrap option values in their sub-commands, as the API nests them."""
    for part in reversed(path):
        values = [{"name": part["name"], "type": part["type"], "options": values}]
    return values


def refuse_large(*uploads: FilePart) -> None:
    """Raise RequestError for a file over 10 MiB."""
    if any(upload.is_too_large for upload in uploads):
        raise RequestError("Your files are too powerful.", "Choose a file of at most 10 MiB.")


def _typed(spec: Json, value: Any) -> Any:
    kind, name = spec["type"], spec["name"]
    try:
        if kind == kinds.INTEGER:
            return int(str(value))
        if kind == kinds.NUMBER:
            return float(str(value))
    except ValueError as error:
        raise RequestError(f"'{value}' is not a number.", f"Give '{name}' a number.") from error
    if kind == kinds.BOOLEAN:
        words = {"true": True, "false": False}
        if str(value).lower() not in words:
            raise RequestError(
                f"'{value}' is not true or false.", f"Choose true or false for '{name}'."
            )
        return words[str(value).lower()]
    return str(value)


def _chosen(spec: Json, choices: list[Json], value: Any) -> Any:
    for choice in choices:
        if value in (choice["value"], choice["name"]):
            return choice["value"]
    names = ", ".join(str(choice["name"]) for choice in choices)
    cause = f"'{value}' is not offered for '{spec['name']}'."
    raise RequestError(cause, f"Choose one of: {names}.")


def _check_range(spec: Json, size: float, low_key: str, high_key: str, unit: str) -> None:
    low, high = spec.get(low_key), spec.get(high_key)
    if (low is not None and size < low) or (high is not None and size > high):
        raise RequestError(
            f"'{spec['name']}' is out of range.",
            f"Minimum: {'none' if low is None else low}; "
            f"maximum: {'none' if high is None else high} {unit}".rstrip()
            + ".",
        )


_CHECKBOX = 23
_OF_SELECT = {5: kinds.USER, 6: kinds.ROLE, 7: kinds.MENTIONABLE, 8: kinds.CHANNEL}


class Resolved:
    """Reads the values of one interaction and collects the objects behind their ids."""

    def __init__(self, sandbox: Sandbox, channel: Json) -> None:
        self._sandbox, self._world, self._channel = sandbox, sandbox.world, channel
        self._found: Json = {}

    def data(self) -> Json:
        """Return `{"resolved": …}`, or an empty dict if nothing was added."""
        return {"resolved": self._found} if self._found else {}

    def read_options(
        self, specs: list[Json], given: Mapping[str, Any], uploads: Mapping[str, FilePart]
    ) -> list[Json]:
        """Return the API options; raise RequestError if a client would refuse to send them."""
        known = {spec["name"] for spec in specs}
        if strange := [name for name in (*given, *uploads) if name not in known]:
            raise RequestError(
                f"The command has no option '{strange[0]}'.",
                f"It takes: {', '.join(sorted(known)) or 'no options'}.",
            )
        values: list[Json] = []
        for spec in specs:
            name = spec["name"]
            if name in uploads or given.get(name) is not None:
                value = self._one(spec, given.get(name), uploads.get(name))
                values.append({"name": name, "type": spec["type"], "value": value})
            elif spec.get("required"):
                raise RequestError(f"The option '{name}' is required.", f"Fill in '{name}'.")
        if sum(len(str(value["value"])) for value in values) > _MOST_CHARACTERS:
            raise RequestError("The command is too long.", "Shorten the options.")
        # Store files last, so that a refused command stores none.
        for value in values:
            if value["type"] == kinds.ATTACHMENT:
                value["value"] = self.add_file(uploads[value["name"]])
        return values

    def _one(self, spec: Json, value: Any, upload: FilePart | None) -> Any:
        kind, name = spec["type"], spec["name"]
        if upload is not None:
            if kind != kinds.ATTACHMENT:
                raise RequestError(f"'{name}' takes no file.", "Give a value instead.")
            refuse_large(upload)
            return name
        if kind == kinds.ATTACHMENT:
            raise RequestError(f"'{name}' needs a file.", "Choose or drop a file.")
        value = _typed(spec, value)
        if choices := spec.get("choices"):
            return _chosen(spec, choices, value)
        if kind == kinds.STRING:
            _check_range(spec, len(value), "min_length", "max_length", "characters")
        elif kind in (kinds.INTEGER, kinds.NUMBER):
            _check_range(spec, value, "min_value", "max_value", "")
        elif kind != kinds.BOOLEAN:
            self.add(kind, value)
        return value

    def add(self, kind: int, thing_id: str) -> None:
        """Add the object behind an option's id; raise NotFoundError if it does not exist."""
        try:
            self._add(kind, thing_id)
        except ApiError as error:
            raise NotFoundError(
                f"{error.message}: {thing_id}.", "Choose one of the offered values."
            ) from error

    def add_selected(self, component_type: int, value: str) -> None:
        """Add the object behind a value of a user, role or channel select."""
        if component_type in _OF_SELECT:
            self.add(_OF_SELECT[component_type], value)

    def add_file(self, upload: FilePart) -> str:
        """Store an uploaded file and return its id."""
        record = self._sandbox.attachments.store(upload, self._channel["id"])
        payload = self._sandbox.attachments.payload(record, is_ephemeral=True)
        self._put("attachments", record["id"], payload)
        return str(record["id"])

    def add_message(self, message: Json) -> None:
        """Add the target of a context-menu command."""
        self._put("messages", message["id"], self._sandbox.views.message(message))

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
        """Return the submitted components; raise RequestError if a client would not send them."""
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
        refuse_large(*uploads)
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
