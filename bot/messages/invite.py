"""What the bot asks of a Discord server that it is invited to."""

from collections.abc import Mapping
from types import MappingProxyType
from urllib.parse import urlencode

SCOPES = ("bot", "applications.commands")
# The bits are Discord's.
PERMISSIONS: Mapping[str, int] = MappingProxyType(
    {
        "View Channels": 1 << 10,
        "Send Messages": 1 << 11,
        "Send Messages in Threads": 1 << 38,
        "Embed Links": 1 << 14,
        "Attach Files": 1 << 15,
        "Read Message History": 1 << 16,
    }
)
ALL_PERMISSIONS = sum(PERMISSIONS.values())
_ADMINISTRATOR = 1 << 3


def invite_link(application_id: str) -> str:
    """Return the link with which an administrator of a server lets the bot in."""
    asked = {"client_id": application_id, "scope": " ".join(SCOPES), "permissions": ALL_PERMISSIONS}
    return f"https://discord.com/oauth2/authorize?{urlencode(asked)}"


def missing_permissions(bits: int) -> list[str]:
    """Return the names of the permissions that a server has not given the bot."""
    if bits & _ADMINISTRATOR:
        return []
    return [name for name, bit in PERMISSIONS.items() if not bits & bit]
