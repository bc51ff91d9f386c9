"""What went wrong, in words for whoever asked: cause and fix, or an id for a bug."""

from bot.messages.card import Card, Colour
from bot.messages.check_text import refused_card
from bot.messages.markdown import cut, escape
from bot.messages.remedy_text import chat_fix
from training.errors import TrainingError
from training.registry.dataset_draft import DatasetRefusedError

_CAUSE_LIMIT = 2500
_FIX_LIMIT = 1400


def error_card(error: TrainingError) -> Card:
    """Return what is wrong and what to do about it."""
    if isinstance(error, DatasetRefusedError):
        return refused_card(error.report)
    parts = [cut(escape(error.cause), _CAUSE_LIMIT)]
    if error.fix:
        parts.append(f"**What to do:** {chat_fix(error.fix, error.remedy, _FIX_LIMIT)}")
    return Card(title="That did not work", description="\n\n".join(parts), colour=Colour.BAD)


def unexpected_text(error_id: str) -> str:
    """Return what is said about a bug; the operator finds it in the log by its id."""
    return (
        f"Something went wrong inside the bot; it is written down as error `{error_id}`. "
        "Please try again, and if it happens again, give that id to whoever runs the bot."
    )
