"""Command options, validated and typed as a chat client does before sending."""

from collections.abc import Callable, Mapping
from typing import Any

from bot.sandbox.wire import Json
from bot.sandbox.world import commands as kinds
from bot.sandbox.world.attachments import FilePart
from training.errors import NotFoundError, RequestError

_MOST_CHARACTERS = 6000
Resolver = Callable[[int, str], None]


def find_command(commands: list[Json], name: str) -> tuple[Json, list[Json]]:
    """Return the command and sub-command path of `name`, e.g. "dataset add"."""
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


class OptionReader:
    """Converts values to API options and passes ids to `resolve`."""

    def __init__(self, uploads: Mapping[str, FilePart], resolve: Resolver) -> None:
        self._uploads, self._resolve = uploads, resolve

    def read(self, specs: list[Json], given: Mapping[str, Any]) -> list[Json]:
        """Return the API options; raises RequestError if a client would refuse to send them."""
        known = {spec["name"] for spec in specs}
        names = [*given, *self._uploads]
        if strange := [name for name in names if name not in known]:
            raise RequestError(
                f"The command has no option '{strange[0]}'.",
                f"It takes: {', '.join(sorted(known)) or 'no options'}.",
            )
        values: list[Json] = []
        for spec in specs:
            name = spec["name"]
            if name in self._uploads:
                values.append(self._attachment(spec))
            elif given.get(name) is not None:
                values.append(_wire(spec, self._checked(spec, given[name])))
            elif spec.get("required"):
                raise RequestError(f"The option '{name}' is required.", f"Fill in '{name}'.")
        if sum(len(str(value["value"])) for value in values) > _MOST_CHARACTERS:
            raise RequestError("The command is too long.", "Shorten the options.")
        return values

    def _attachment(self, spec: Json) -> Json:
        if spec["type"] != kinds.ATTACHMENT:
            raise RequestError(f"'{spec['name']}' takes no file.", "Give a value instead.")
        if self._uploads[spec["name"]].is_too_large:
            raise RequestError("Your files are too powerful.", "A file may have at most 10 MiB.")
        return _wire(spec, spec["name"])

    def _checked(self, spec: Json, value: Any) -> Any:
        kind = spec["type"]
        if kind == kinds.ATTACHMENT:
            raise RequestError(f"'{spec['name']}' needs a file.", "Choose or drop a file.")
        value = _typed(spec, value)
        if choices := spec.get("choices"):
            return _chosen(spec, choices, value)
        if kind == kinds.STRING:
            _check_range(spec, len(value), "min_length", "max_length", "characters")
        elif kind in (kinds.INTEGER, kinds.NUMBER):
            _check_range(spec, value, "min_value", "max_value", "")
        elif kind != kinds.BOOLEAN:
            self._resolve(kind, value)
        return value


def _wire(spec: Json, value: Any) -> Json:
    return {"name": spec["name"], "type": spec["type"], "value": value}


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
            raise RequestError(f"'{value}' is not true or false.", f"Choose one for '{name}'.")
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
            f"Give between {'any' if low is None else low} and "
            f"{'any' if high is None else high} {unit}".rstrip()
            + ".",
        )
