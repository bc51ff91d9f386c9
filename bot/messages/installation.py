"""Texts about an installation: invite link, idle cost, next steps, clean-up reports."""

from collections.abc import Mapping, Sequence
from urllib.parse import urlencode

from bot.messages.card import Card, Colour
from training.deployment.idle_cost import IdleCost
from training.estimates.prices import FREE_GIB, MachinePrices
from training.files.sizes import size
from training.operations.clean_up import UNUSED_DAYS, CleanUpNotice
from training.registry.trash import TRASH_DAYS
from training.wording import count

SCOPES = ("bot", "applications.commands")
# The bits are defined by Discord.
PERMISSIONS: Mapping[str, int] = {
    "View Channels": 1 << 10,
    "Send Messages": 1 << 11,
    "Create Public Threads": 1 << 35,
    "Send Messages in Threads": 1 << 38,
    "Embed Links": 1 << 14,
    "Attach Files": 1 << 15,
    "Read Message History": 1 << 16,
}
ALL_PERMISSIONS = sum(PERMISSIONS.values())
_ADMINISTRATOR = 1 << 3


def invite_link(application_id: str) -> str:
    """Return the link that adds the bot to a server."""
    query = {"client_id": application_id, "scope": " ".join(SCOPES), "permissions": ALL_PERMISSIONS}
    return f"https://discord.com/oauth2/authorize?{urlencode(query)}"


def missing_permissions(bits: int) -> list[str]:
    """Return the names of the permissions that the bot lacks on a server."""
    if bits & _ADMINISTRATOR:
        return []
    return [name for name, bit in PERMISSIONS.items() if not bits & bit]


def idle_text(costs: Sequence[IdleCost], prices: MachinePrices) -> str:
    """Return the monthly cost of an idle deployment, item by item."""
    total = sum(cost.usd for cost in costs)
    which = "this workspace's prices" if prices.is_live else f"the list prices of {prices.day}"
    lines = [
        f"While idle, the bot costs about ${total:.2f} per 30 days at {which}; no GPU runs:",
        *(f"  {cost.what:<9} ${cost.usd:>5.2f}  {cost.why}" for cost in costs),
        f"  Volumes   free up to {FREE_GIB:,} GiB, then ${prices.gib_month:.2f} per GiB",
    ]
    return "\n".join(lines)


def next_text(application_id: str | None, app: str) -> str:
    """Return the next steps after a first deployment.

    Args:
        application_id: The bot's application id; None if it could not be looked up.
        app: The name of the deployment.
    """
    invite = f"Invite the bot to your server: {invite_link(application_id or 'APPLICATION_ID')}"
    if application_id is None:
        invite += (
            "\n     Find APPLICATION_ID on your application's General Information page at"
            f" discord.com/developers/applications; the scopes are {' and '.join(SCOPES)}"
        )
    steps = (
        invite,
        "In Discord: /dataset add with a zip, then /train",
        f"Check that everything works: lorabot doctor --backend modal --app {app}",
    )
    numbered = (f"  {number}. {step}" for number, step in enumerate(steps, start=1))
    return "\n".join(("Next:", *numbered))


def clean_up_card(notice: CleanUpNotice) -> Card:
    """Return a card that lists what the daily clean-up deleted."""
    lines: list[str] = []
    if notice.trash_files:
        lines.append(
            f"{size(notice.trash_bytes)} of files removed from this server at least "
            f"{TRASH_DAYS} days ago"
        )
    if notice.cache_files:
        lines.append(
            f"{count(notice.cache_files, 'cache file')} of this server, "
            f"{size(notice.cache_bytes)}, unused for {UNUSED_DAYS} days"
        )
    if notice.shared_bytes:
        lines.append(
            f"{size(notice.shared_bytes)} shared by all servers: merged base models unused for "
            f"{UNUSED_DAYS} days, and leftovers of interrupted writes"
        )
    freed = "\n".join(f"- {line}" for line in lines)
    rest = "Datasets and runs are kept until somebody removes them. Caches are rebuilt when needed."
    return Card(title="Cleaned up", description=f"{freed}\n\n{rest}", colour=Colour.NEUTRAL)
