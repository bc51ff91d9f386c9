"""Discord's permission bits, and how roles and channel overwrites combine."""

from bot.sandbox.wire import Json

ADMINISTRATOR = 1 << 3
VIEW_CHANNEL = 1 << 10
SEND_MESSAGES = 1 << 11
MANAGE_MESSAGES = 1 << 13
EMBED_LINKS = 1 << 14
ATTACH_FILES = 1 << 15
READ_HISTORY = 1 << 16
MENTION_EVERYONE = 1 << 17
MANAGE_ROLES = 1 << 28
USE_COMMANDS = 1 << 31
MANAGE_THREADS = 1 << 34
CREATE_PUBLIC_THREADS = 1 << 35
CREATE_PRIVATE_THREADS = 1 << 36
SEND_IN_THREADS = 1 << 38
PIN_MESSAGES = 1 << 51
ALL = (1 << 53) - 1
EVERYONE_MAY = (
    VIEW_CHANNEL
    | SEND_MESSAGES
    | EMBED_LINKS
    | ATTACH_FILES
    | READ_HISTORY
    | USE_COMMANDS
    | CREATE_PUBLIC_THREADS
    | CREATE_PRIVATE_THREADS
    | SEND_IN_THREADS
    | PIN_MESSAGES
)


def role_permissions(guild: Json, user_id: str) -> int:
    """Return the permission bits of a member's roles combined; a guild's owner has all bits."""
    if guild["owner_id"] == user_id:
        return ALL
    bits = 0
    own = guild["members"][user_id]["roles"]
    for role in guild["roles"]:
        if role["id"] == guild["id"] or role["id"] in own:
            bits |= int(role["permissions"])
    return bits


def apply_overwrites(bits: int, guild: Json, user_id: str, channel: Json) -> int:
    """Return `bits` with the channel's overwrites applied in Discord's order.

    That is @everyone first, then all of the member's roles together, then the member.
    """
    own = set(guild["members"][user_id]["roles"])
    for ids in ({guild["id"]}, own, {user_id}):
        allow = deny = 0
        for overwrite in channel.get("permission_overwrites", []):
            if overwrite["id"] in ids:
                allow |= int(overwrite["allow"])
                deny |= int(overwrite["deny"])
        bits = bits & ~deny | allow
    return bits
