"""REST routes for the bot's account, application, commands and guilds."""

from typing import Any

from bot.sandbox.gateway import IDENTIFIES_PER_DAY
from bot.sandbox.payloads import (
    application_payload,
    channel_payload,
    guild_payload,
    member_payload,
    roles_payload,
    self_payload,
    user_payload,
)
from bot.sandbox.rest.dispatch import Created, Handlers, RestCall, Route
from bot.sandbox.wire import ApiError, Json, unknown
from bot.sandbox.world import permissions

_DAY_MS = 86_400_000


class ApplicationRoutes(Handlers):
    """Handlers for users, applications, guilds and gateway discovery."""

    def routes(self) -> list[Route]:
        world, gateway = self.world, self.sandbox.gateway
        guild = "/guilds/{guild_id}"
        role = guild + "/members/{user_id}/roles/{role_id}"
        return [
            Route("GET", "/users/@me", lambda _: self_payload(world.bot)),
            Route("GET", "/users/{user_id}", lambda c: user_payload(world.user(c.path["user_id"]))),
            Route("GET", "/users/@me/guilds", self.guilds),
            Route("POST", "/users/@me/channels", self.open_dm),
            Route("GET", "/applications/@me", lambda _: application_payload(world)),
            Route("GET", "/oauth2/applications/@me", lambda _: application_payload(world)),
            Route("GET", "/gateway", lambda _: {"url": gateway.url}, False),
            Route("GET", "/gateway/bot", self.gateway_bot),
            Route("GET", guild, self.guild),
            Route("GET", guild + "/channels", self.channels),
            Route("GET", guild + "/roles", lambda call: roles_payload(self._guild(call))),
            Route("GET", guild + "/members", self.members),
            Route("GET", guild + "/members/{user_id}", self.member),
            Route("PUT", role, lambda call: self._set_role(call, is_given=True)),
            Route("DELETE", role, lambda call: self._set_role(call, is_given=False)),
        ]

    def guilds(self, _: RestCall) -> list[Json]:
        return [_partial_guild(guild, self.bot_id) for guild in self.world.guilds_of(self.bot_id)]

    def open_dm(self, call: RestCall) -> Json:
        recipient = str(call.body.get("recipient_id"))
        if recipient == self.bot_id:
            raise ApiError(400, 50007, "Cannot send messages to this user")
        return channel_payload(self.world, self.world.dm_with(recipient))

    def gateway_bot(self, _: RestCall) -> Json:
        gateway = self.sandbox.gateway
        limit: Json = {"total": IDENTIFIES_PER_DAY, "remaining": gateway.identifies_left}
        limit |= {"reset_after": _DAY_MS, "max_concurrency": 1}
        return {"url": gateway.url, "shards": 1, "session_start_limit": limit}

    def _guild(self, call: RestCall) -> Json:
        """Return the guild in the path; raise the API's 404 if the bot is not in it."""
        guild = self.world.guild(call.path["guild_id"])
        if self.bot_id not in guild["members"]:
            raise unknown("Guild")
        return guild

    def guild(self, call: RestCall) -> Json:
        guild = self._guild(call)
        count = len(guild["members"])
        counts = {"approximate_member_count": count, "approximate_presence_count": count}
        return guild_payload(guild) | (counts if call.query.get("with_counts") else {})

    def channels(self, call: RestCall) -> list[Json]:
        found = self.world.channels_of(self._guild(call)["id"])
        return [channel_payload(self.world, channel) for channel in found]

    def members(self, call: RestCall) -> None:
        self._guild(call)
        # Listing members needs the privileged members intent.
        raise ApiError(403, 50001, "Missing Access")

    def member(self, call: RestCall) -> Json:
        return member_payload(self.world, self._guild(call)["id"], call.path["user_id"])

    def _set_role(self, call: RestCall, *, is_given: bool) -> None:
        guild, role_id, user_id = self._guild(call), call.path["role_id"], call.path["user_id"]
        channel = self.world.channels_of(guild["id"])[0]
        self.world.require(self.bot_id, channel, permissions.MANAGE_ROLES)
        self.world.role(guild["id"], role_id)
        member = self.world.member(guild["id"], user_id)
        others: list[Any] = [one for one in member["roles"] if one != role_id]
        member["roles"] = others + [role_id] * is_given
        self.world.save_guild(guild)
        self.changes.publish("member_update", {"guild_id": guild["id"], "user_id": user_id})


class CommandRoutes(Handlers):
    """Handlers for global and guild commands."""

    def routes(self) -> list[Route]:
        commands, scope, command_id = self.sandbox.commands, self._scope, _command_id
        routes: list[Route] = []
        for where in ("", "/guilds/{guild_id}"):
            path = "/applications/{application_id}" + where + "/commands"
            one = path + "/{command_id}"
            routes += [
                Route("GET", path, lambda c: commands.of(scope(c))),
                Route("PUT", path, lambda c: commands.replace(scope(c), c.body or [])),
                Route("POST", path, self.create),
                Route("GET", one, lambda c: commands.get(scope(c), command_id(c))),
                Route("PATCH", one, lambda c: commands.edit(scope(c), command_id(c), c.body)),
                Route("DELETE", one, lambda c: commands.delete(scope(c), command_id(c))),
            ]
        return routes

    def create(self, call: RestCall) -> Json | Created:
        command, is_new = self.sandbox.commands.upsert(self._scope(call), call.body)
        return Created(command) if is_new else command

    def _scope(self, call: RestCall) -> str | None:
        """Return the id of the guild whose commands are requested; None for global commands."""
        guild_id = call.path.get("guild_id")
        own = {guild["id"] for guild in self.world.guilds_of(self.bot_id)}
        is_known = guild_id is None or guild_id in own
        if call.path["application_id"] != self.world.application_id or not is_known:
            raise ApiError(403, 50001, "Missing Access")
        return guild_id


def _command_id(call: RestCall) -> str:
    return call.path["command_id"]


def _partial_guild(guild: Json, bot: str) -> Json:
    bits = permissions.role_permissions(guild, bot)
    shown: Json = {"id": guild["id"], "name": guild["name"], "icon": None, "banner": None}
    return shown | {"owner": False, "permissions": str(bits), "features": []}
