"""The cards that show a server's settings."""

from bot.messages.card import Card, Colour, Field

# The options of /settings.
TEAM_ROLE, FALLBACK_CHANNEL, ASK_ABOVE = "team-role", "fallback-channel", "ask-above"
_NO_ROLE = "None. Only members with Manage Server may change other people's items."
_ROLE = "Its members may change other people's items, and are pinged when a run ends."
TOKEN_LABEL = "Hugging Face token"
_NO_TOKEN = "None. Public datasets can be imported without one."
_TOKEN = "Set. Imports from huggingface.co use it. It is never shown."
_NO_CHANNEL = (
    "None. If a run's channel is gone, the run's owner gets a direct message when the run ends."
)
_CHANNEL = "Announces the end of a run if the run's own channel is gone."


def settings_card(
    team_role: str | None,
    fallback_channel: str | None,
    gone: frozenset[str],
    *,
    ask_above_usd: float,
    has_token: bool,
    is_changed: bool,
) -> Card:
    """Return a card with a server's settings, one field each.

    Args:
        team_role: Id of the team role.
        fallback_channel: Id of the fallback channel.
        gone: The options whose role or channel was deleted.
        ask_above_usd: A run that may cost more than this needs a confirmation.
        has_token: Whether the server has a token for the Hugging Face Hub.
        is_changed: Whether the settings have just been changed.
    """
    role = _NO_ROLE if team_role is None else f"<@&{team_role}>. {_ROLE}"
    channel = _NO_CHANNEL if fallback_channel is None else f"<#{fallback_channel}>. {_CHANNEL}"
    if TEAM_ROLE in gone:
        role = f"The role was deleted. {_NO_ROLE}"
    if FALLBACK_CHANNEL in gone:
        channel = f"The bot can no longer see the channel. {_NO_CHANNEL}"
    colour = Colour.WARNING if gone else Colour.GOOD if is_changed else Colour.NEUTRAL
    return Card(
        title="Settings changed" if is_changed else "Settings of this server",
        colour=colour,
        fields=(
            Field("Team role", role),
            Field("Fallback channel", channel),
            Field(
                "Ask above",
                f"${ask_above_usd:,.2f}. A run that may cost more shows its plan first.",
            ),
            Field(TOKEN_LABEL, _TOKEN if has_token else _NO_TOKEN),
        ),
        footer="Change them with the options of /settings; the option clear removes a setting.",
    )


def token_card(*, is_set: bool) -> Card:
    """Return a card that says whether the server has a token, without showing it."""
    return Card(title=TOKEN_LABEL, description=_TOKEN if is_set else _NO_TOKEN, colour=Colour.GOOD)
