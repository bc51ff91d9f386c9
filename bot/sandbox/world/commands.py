"""Registered application commands and the rules Discord has for them."""

import re
from typing import Any

from bot.sandbox.wire import ApiError, Json, invalid, objects, unknown
from bot.sandbox.world.archive import WorldArchive
from bot.sandbox.world.world import Changes, World

CHAT_INPUT, USER_MENU, MESSAGE_MENU = 1, 2, 3
SUBCOMMAND, SUBCOMMAND_GROUP, STRING, INTEGER, BOOLEAN, USER = 1, 2, 3, 4, 5, 6
CHANNEL, ROLE, MENTIONABLE, NUMBER, ATTACHMENT = 7, 8, 9, 10, 11
_NAME = re.compile(r"^[-_'\w]{1,32}$")
_MOST = {CHAT_INPUT: 100, USER_MENU: 15, MESSAGE_MENU: 15}
_MOST_CHARACTERS = 8000
CREATES_PER_DAY = 200
_DAY = 24 * 60 * 60


class Commands:
    """Global and guild commands."""

    def __init__(self, archive: WorldArchive, world: World, changes: Changes) -> None:
        self._archive, self._world, self._changes = archive, world, changes
        self._all = archive.all("command")
        self._created: dict[str | None, list[float]] = {}

    def of(self, guild_id: str | None) -> list[Json]:
        """Return the commands of a guild, or the global commands if `guild_id` is None."""
        return [c for c in self._all.values() if c.get("guild_id") == guild_id]

    def usable_in(self, guild_id: str | None) -> list[Json]:
        """Return a guild's own commands and all global ones.

        In direct messages (None), these are the global commands that allow direct messages.
        """
        everywhere = [c for c in self.of(None) if guild_id or _works_in_dm(c)]
        return everywhere + (self.of(guild_id) if guild_id else [])

    def get(self, guild_id: str | None, command_id: str) -> Json:
        """Return one command; raise the API's 404 if it does not exist."""
        command = self._all.get(command_id)
        if command is None or command.get("guild_id") != guild_id:
            raise unknown("application command")
        return command

    def replace(self, guild_id: str | None, bodies: list[Json]) -> list[Json]:
        """Replace a guild's commands, or the global ones.

        A command keeps its id if one of the same name and type was registered before.
        """
        for index, body in enumerate(bodies):
            check_command(body, str(index))
        _check_set(bodies)
        before = {(c["name"], c["type"]): c for c in self.of(guild_id)}
        keys = [(body["name"], body.get("type") or CHAT_INPUT) for body in bodies]
        self._count_creates(guild_id, sum(key not in before for key in keys))
        for key, command in before.items():
            if key not in keys:
                self._forget(command)
        kept = [self._write(guild_id, b, before.get(k)) for b, k in zip(bodies, keys, strict=True)]
        self._changes.publish("commands", {"guild_id": guild_id})
        return kept

    def upsert(self, guild_id: str | None, body: Json) -> tuple[Json, bool]:
        """Create or overwrite a command by name and type; return it, and whether it was created."""
        check_command(body, "")
        key = (body["name"], body.get("type") or CHAT_INPUT)
        existing = next((c for c in self.of(guild_id) if (c["name"], c["type"]) == key), None)
        if existing is None:
            _check_set([*self.of(guild_id), body])
            self._count_creates(guild_id, 1)
        command = self._write(guild_id, body, existing)
        self._changes.publish("commands", {"guild_id": guild_id})
        return command, existing is None

    def edit(self, guild_id: str | None, command_id: str, body: Json) -> Json:
        command = self.get(guild_id, command_id)
        merged = command | body
        check_command(merged, "")
        written = self._write(guild_id, merged, command)
        self._changes.publish("commands", {"guild_id": guild_id})
        return written

    def delete(self, guild_id: str | None, command_id: str) -> None:
        self._forget(self.get(guild_id, command_id))
        self._changes.publish("commands", {"guild_id": guild_id})

    def _forget(self, command: Json) -> None:
        del self._all[command["id"]]
        self._archive.delete("command", command["id"])

    def _count_creates(self, guild_id: str | None, count: int) -> None:
        now = self._world.clock()
        recent = [at for at in self._created.get(guild_id, []) if at > now - _DAY]
        if len(recent) + count > CREATES_PER_DAY:
            text = "Max number of daily application command creates has been reached (200)"
            raise ApiError(400, 30034, text)
        self._created[guild_id] = recent + [now] * count

    def _write(self, guild_id: str | None, body: Json, before: Json | None) -> Json:
        command: Json = {"id": before["id"] if before else self._world.ids.next()}
        command |= {"application_id": self._world.application_id, "version": command["id"]}
        command |= {"name": body["name"], "type": body.get("type") or CHAT_INPUT}
        command |= {"description": body.get("description") or "", "nsfw": bool(body.get("nsfw"))}
        command |= {"options": [_cleaned(option) for option in objects(body.get("options"))]}
        permissions = body.get("default_member_permissions")
        command["default_member_permissions"] = None if permissions is None else str(permissions)
        if guild_id:
            command["guild_id"] = guild_id
        else:
            command["contexts"] = body.get("contexts")
            command["dm_permission"] = body.get("dm_permission") is not False
            command["integration_types"] = body.get("integration_types") or [0]
        if before and {**before, "version": None} != {**command, "version": None}:
            command["version"] = self._world.ids.next()
        self._all[command["id"]] = command
        self._archive.put("command", command)
        return command


def _works_in_dm(command: Json) -> bool:
    contexts = command.get("contexts")
    return command.get("dm_permission", True) if contexts is None else 1 in contexts


def _cleaned(option: Json) -> Json:
    shown = {key: value for key, value in option.items() if value is not None}
    if "options" in shown:
        shown["options"] = [_cleaned(child) for child in shown["options"]]
    return shown


def _check_set(bodies: list[Json]) -> None:
    seen: set[tuple[str, int]] = set()
    for index, body in enumerate(bodies):
        key = (body["name"], body.get("type") or CHAT_INPUT)
        if key in seen:
            text = "Application command names must be unique"
            raise invalid(str(index), "APPLICATION_COMMANDS_DUPLICATE_NAME", text)
        seen.add(key)
    for kind, most in _MOST.items():
        if sum(key[1] == kind for key in seen) > most:
            raise ApiError(400, 30032, f"Maximum number of application commands reached ({most}).")


def check_command(body: Json, path: str) -> None:
    """Raise error 50035 if a command breaks a rule that the OpenAPI schema does not express."""
    if (body.get("type") or CHAT_INPUT) != CHAT_INPUT:
        if body.get("options") or body.get("description"):
            text = "Context menu commands cannot have a description or options"
            raise invalid(path, "APPLICATION_COMMAND_CONTEXT_MENU_DESCRIPTION_INVALID", text)
        return
    _check_name(body["name"], path)
    if not body.get("description"):
        raise invalid(f"{path}.description", "BASE_TYPE_REQUIRED", "This field is required")
    if _characters(body) > _MOST_CHARACTERS:
        text = "Command exceeds maximum size (8000)"
        raise invalid(path, "APPLICATION_COMMAND_TOO_LARGE", text)
    _check_options(body.get("options") or [], f"{path}.options", depth=0)


def _check_name(name: str, path: str) -> None:
    if not _NAME.fullmatch(name) or name != name.lower():
        text = "Command name is invalid"
        raise invalid(f"{path}.name", "APPLICATION_COMMAND_INVALID_NAME", text)


def _characters(body: Json) -> int:
    total = len(body.get("name", "")) + len(body.get("description") or "")
    choices: list[Json] = body.get("choices") or []
    total += sum(len(choice["name"]) + len(str(choice["value"])) for choice in choices)
    return total + sum(_characters(option) for option in objects(body.get("options")))


def _check_options(options: list[Json], path: str, *, depth: int) -> None:
    names: set[str] = set()
    optional_before = False
    nested = [option["type"] in (SUBCOMMAND, SUBCOMMAND_GROUP) for option in options]
    if any(nested) and not all(nested):
        text = "Sub-command and sub-command group option types are mutually exclusive to others"
        raise invalid(path, "APPLICATION_COMMAND_OPTIONS_TYPE_INVALID", text)
    for index, option in enumerate(options):
        here = f"{path}.{index}"
        _check_name(option["name"], here)
        if option["name"] in names:
            text = "Option names must be unique"
            raise invalid(here, "APPLICATION_COMMAND_OPTIONS_NAME_ALREADY_EXISTS", text)
        names.add(option["name"])
        if option.get("required") and optional_before:
            text = "Required options must be placed before non-required options"
            raise invalid(here, "APPLICATION_COMMAND_OPTIONS_REQUIRED_INVALID", text)
        optional_before = optional_before or not option.get("required")
        _check_option(option, here, depth=depth)


def _check_option(option: Json, path: str, *, depth: int) -> None:
    choices: list[Any] = option.get("choices") or []
    if choices and option.get("autocomplete"):
        text = "Options with autocomplete cannot have choices"
        raise invalid(path, "APPLICATION_COMMAND_OPTIONS_AUTOCOMPLETE_CHOICES", text)
    if len({choice["name"] for choice in choices}) < len(choices):
        text = "Option choice names must be unique"
        raise invalid(f"{path}.choices", "APPLICATION_COMMAND_OPTIONS_CHOICE_NAME_EXISTS", text)
    if option["type"] == SUBCOMMAND_GROUP and depth > 0:
        text = "Sub-command groups cannot be nested"
        raise invalid(path, "APPLICATION_COMMAND_OPTIONS_TYPE_INVALID", text)
    _check_options(option.get("options") or [], f"{path}.options", depth=depth + 1)
