"""Who may do what: the permission bits and how roles and overwrites add up."""

from typing import TYPE_CHECKING

from bot.sandbox.wire import ApiError, Json
from bot.sandbox.world.permission_bits import (
    ADMINISTRATOR,
    ALL,
    EVERYONE_MAY,
    SEND_IN_THREADS,
    SEND_MESSAGES,
    VIEW_CHANNEL,
)

if TYPE_CHECKING:
    from bot.sandbox.world.world import World


def permissions_in(world: "World", user_id: str, channel: Json) -> int:
    """Return the permission bits of a user in a channel; a thread has its parent's."""
    if "guild_id" not in channel:
        return EVERYONE_MAY
    guild = world.guild(channel["guild_id"])
    member = guild["members"].get(user_id)
    if member is None:
        return 0
    bits = granted(guild, member, user_id)
    if bits & ADMINISTRATOR:
        return ALL
    if parent := channel.get("parent_id"):
        channel = world.channels.get(parent, channel)
    return _overwritten(bits, guild, member, user_id, channel)


def granted(guild: Json, member: Json, user_id: str) -> int:
    """Return the permission bits that the roles of a member add up to."""
    if guild["owner_id"] == user_id:
        return ALL
    bits = 0
    for role in guild["roles"]:
        if role["id"] == guild["id"] or role["id"] in member["roles"]:
            bits |= int(role["permissions"])
    return bits


def _overwritten(bits: int, guild: Json, member: Json, user_id: str, channel: Json) -> int:
    # The order is the API's: everyone first, then all roles together, the member last.
    overwrites = channel.get("permission_overwrites", [])
    for ids in ({guild["id"]}, set(member["roles"]), {user_id}):
        allow = deny = 0
        for overwrite in overwrites:
            if overwrite["id"] in ids:
                allow |= int(overwrite["allow"])
                deny |= int(overwrite["deny"])
        bits = bits & ~deny | allow
    return bits


def require(world: "World", user_id: str, channel: Json, *needed: int) -> None:
    """Raise the API's 403 unless the user has every permission in the channel."""
    bits = permissions_in(world, user_id, channel)
    if not bits & VIEW_CHANNEL:
        raise ApiError(403, 50001, "Missing Access")
    if any(not bits & need for need in needed):
        raise ApiError(403, 50013, "Missing Permissions")


def sending_in(channel: Json) -> int:
    """Return the permission that writing in this channel needs."""
    return SEND_IN_THREADS if channel["type"] in (10, 11, 12) else SEND_MESSAGES
