"""The field in which a list reports entries that cannot be read."""

from collections.abc import Sequence

from bot.messages.card import VALUE_LIMIT, Field
from bot.messages.markdown import escape, join_lines
from bot.messages.remedies import chat_fix
from training.errors import TrainingError


def damaged_field(errors: Sequence[TrainingError]) -> Field | None:
    """Return a field that lists damaged entries and what to do; None if there are none."""
    if not errors:
        return None
    lines = [f"- {escape(one.cause)} {chat_fix(one.fix, one.remedy)}" for one in errors]
    return Field("Damaged", join_lines(lines, VALUE_LIMIT))
