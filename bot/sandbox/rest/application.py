"""REST routes for the bot's account, application, commands and guilds."""

from typing import Any

from bot.sandbox.gateway.gateway import IDENTIFIES_PER_DAY, Gateway
from bot.sandbox.payloads import (
    application_payload,
    channel_payload,
    guild_payload,
    member_payload,
    roles_payload,
    self_payload,
    user_payload,
)
from bot.sandbox.rest.dispatch import RestCall, RestReply, Route
from bot.sandbox.wire import ApiError, Json
from bot.sandbox.world import permissions
from bot.sandbox.world.changes import Changes
from bot.sandbox.world.commands import Commands
from bot.sandbox.world.world import World

_DAY_MS = 86_400_000


class ApplicationRoutes:
    """Handlers for users, applications, commands, guilds and gateway discovery."""

    def __init__(
        self, world: World, commands: Commands, gateway: Gateway, changes: Changes
    ) -> None:
        self._world, self._commands = world, commands
        self._gateway, self._changes = gateway, changes

    def routes(self) -> list[Route]:
        return [*self._own_routes(), *self._command_routes(), *self._guild_routes()]

    def _own_routes(self) -> list[Route]:
        return [
            Route("GET", "/users/@me", lambda _: RestReply(self_payload(self._world.bot))),
            Route("GET", "/users/{user_id}", self.user),
            Route("GET", "/users/@me/guilds", self.guilds),
            Route("POST", "/users/@me/channels", self.open_dm),
            Route("GET", "/applications/@me", self.application),
            Route("GET", "/oauth2/applications/@me", self.application),
            Route("GET", "/gateway", lambda _: RestReply({"url": self._gateway.url}), False),
            Route("GET", "/gateway/bot", self.gateway_bot),
        ]

    def _command_routes(self) -> list[Route]:
        routes: list[Route] = []
        for scope in ("", "/guilds/{guild_id}"):
            path = "/applications/{application_id}" + scope + "/commands"
            one = path + "/{command_id}"
            routes += [
                Route("GET", path, self.list_commands),
                Route("PUT", path, self.replace_commands),
                Route("POST", path, self.create_command),
                Route("GET", one, self.get_command),
                Route("PATCH", one, self.edit_command),
                Route("DELETE", one, self.delete_command),
            ]
        return routes

    def _guild_routes(self) -> list[Route]:
        guild = "/guilds/{guild_id}"
        role = guild + "/members/{user_id}/roles/{role_id}"
        return [
            Route("GET", guild, self.guild),
            Route("GET", guild + "/channels", self.channels),
            Route("GET", guild + "/roles", self.roles),
            Route("GET", guild + "/members", self.members),
            Route("GET", guild + "/members/{user_id}", self.member),
            Route("PUT", role, lambda call: self._set_role(call, is_given=True)),
            Route("DELETE", role, lambda call: self._set_role(call, is_given=False)),
        ]

    def user(self, call: RestCall) -> RestReply:
        return RestReply(user_payload(self._world.user(call.path["user_id"])))

    def guilds(self, _: RestCall) -> RestReply:
        bot = self._world.bot["id"]
        return RestReply([_partial_guild(guild, bot) for guild in self._world.guilds.values()])

    def open_dm(self, call: RestCall) -> RestReply:
        recipient = str(call.body.get("recipient_id"))
        if recipient == self._world.bot["id"]:
            raise ApiError(400, 50007, "Cannot send messages to this user")
        return RestReply(channel_payload(self._world, self._world.dm_with(recipient)))

    def application(self, _: RestCall) -> RestReply:
        return RestReply(application_payload(self._world))

    def gateway_bot(self, _: RestCall) -> RestReply:
        limit: Json = {"total": IDENTIFIES_PER_DAY, "remaining": self._gateway.identifies_left}
        limit |= {"reset_after": _DAY_MS, "max_concurrency": 1}
        return RestReply({"url": self._gateway.url, "shards": 1, "session_start_limit": limit})

    def _scope(self, call: RestCall) -> str | None:
        if call.path["application_id"] != self._world.application_id:
            raise ApiError(403, 50001, "Missing Access")
        guild_id = call.path.get("guild_id")
        if guild_id is not None and guild_id not in self._world.guilds:
            raise ApiError(403, 50001, "Missing Access")
        return guild_id

    def list_commands(self, call: RestCall) -> RestReply:
        return RestReply(self._commands.of(self._scope(call)))

    def replace_commands(self, call: RestCall) -> RestReply:
        """Replace all commands of the scope."""
        return RestReply(self._commands.replace(self._scope(call), call.body or []))

    def create_command(self, call: RestCall) -> RestReply:
        command, is_new = self._commands.upsert(self._scope(call), call.body)
        return RestReply(command, 201 if is_new else 200)

    def get_command(self, call: RestCall) -> RestReply:
        return RestReply(self._commands.get(self._scope(call), call.path["command_id"]))

    def edit_command(self, call: RestCall) -> RestReply:
        scope, command_id = self._scope(call), call.path["command_id"]
        return RestReply(self._commands.edit(scope, command_id, call.body))

    def delete_command(self, call: RestCall) -> RestReply:
        self._commands.delete(self._scope(call), call.path["command_id"])
        return RestReply()

    def _guild(self, call: RestCall) -> Json:
        return self._world.guild(call.path["guild_id"])

    def guild(self, call: RestCall) -> RestReply:
        guild = self._guild(call)
        count = len(guild["members"])
        counts = {"approximate_member_count": count, "approximate_presence_count": count}
        return RestReply(guild_payload(guild) | (counts if call.query.get("with_counts") else {}))

    def channels(self, call: RestCall) -> RestReply:
        found = self._world.channels_of(self._guild(call)["id"])
        return RestReply([channel_payload(self._world, channel) for channel in found])

    def roles(self, call: RestCall) -> RestReply:
        return RestReply(roles_payload(self._guild(call)))

    def members(self, call: RestCall) -> RestReply:
        self._guild(call)
        # Listing members needs the privileged members intent.
        raise ApiError(403, 50001, "Missing Access")

    def member(self, call: RestCall) -> RestReply:
        return RestReply(member_payload(self._world, self._guild(call)["id"], call.path["user_id"]))

    def _set_role(self, call: RestCall, *, is_given: bool) -> RestReply:
        guild, role_id, user_id = self._guild(call), call.path["role_id"], call.path["user_id"]
        channel = self._world.channels_of(guild["id"])[0]
        self._world.require(self._world.bot["id"], channel, permissions.MANAGE_ROLES)
        self._world.role(guild["id"], role_id)
        member = self._world.member(guild["id"], user_id)
        others: list[Any] = [one for one in member["roles"] if one != role_id]
        member["roles"] = others + [role_id] * is_given
        self._world.save_guild(guild)
        self._changes.publish("member_update", {"guild_id": guild["id"], "user_id": user_id})
        return RestReply()


def _partial_guild(guild: Json, bot: str) -> Json:
    bits = permissions.role_permissions(guild, bot)
    shown: Json = {"id": guild["id"], "name": guild["name"], "icon": None, "banner": None}
    return shown | {"owner": False, "permissions": str(bits), "features": []}
