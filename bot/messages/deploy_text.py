"""What is told after a deployment: what runs where, what it costs idle, what comes next."""

from collections.abc import Sequence

from bot.messages.invite import SCOPES, invite_link
from training.deployment.idle_cost import IdleCost
from training.estimates.prices import MachinePrices

_FREE_GIB = 1024


def idle_text(costs: Sequence[IdleCost], prices: MachinePrices) -> str:
    """Return what an idle deployment costs a month, and what of."""
    total = sum(cost.usd for cost in costs)
    which = "this workspace's prices" if prices.is_live else f"the list prices of {prices.day}"
    lines = [
        f"Idle it costs about ${total:.2f} in 30 days at {which}; no GPU runs:",
        *(f"  {cost.what:<9} ${cost.usd:>5.2f}  {cost.why}" for cost in costs),
        f"  Volumes   nothing up to {_FREE_GIB:,} GiB, then ${prices.gib_month:.2f} a GiB",
    ]
    return "\n".join(lines)


def next_text(application_id: str | None, app: str) -> str:
    """Return what a person does after the first deployment.

    Args:
        application_id: Of the bot at Discord; None where no token is at hand to ask with.
        app: The name of the deployment.
    """
    invite = f"Invite the bot into your server: {invite_link(application_id or 'APPLICATION_ID')}"
    if application_id is None:
        invite += (
            "\n     APPLICATION_ID stands at discord.com/developers/applications, your application,"
            f" page General Information; the scopes are {' and '.join(SCOPES)}"
        )
    steps = (
        invite,
        "There: /dataset add with a zip, then /train",
        f"See whether all is well: lorabot doctor --backend modal --app {app}",
    )
    numbered = (f"  {number}. {step}" for number, step in enumerate(steps, start=1))
    return "\n".join(("Next:", *numbered))
