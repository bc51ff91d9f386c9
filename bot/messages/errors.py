"""Answers to failed commands: cause and fix, or an error id if the failure is a bug."""

from bot.messages.card import Card, Colour, Field
from bot.messages.datasets.cards import finding_fields
from bot.messages.markdown import cut, escape
from bot.messages.remedies import chat_fix
from training.dataset.report import Report
from training.errors import TrainingError
from training.registry.dataset_draft import DatasetRefusedError
from training.wording import count

_CAUSE_LIMIT = 2500
_FIX_LIMIT = 1400


def error_card(error: TrainingError) -> Card:
    """Return a card with the cause of a failure and what to do about it."""
    if isinstance(error, DatasetRefusedError):
        return _refused_card(error.report)
    parts = [cut(escape(error.cause), _CAUSE_LIMIT)]
    if error.fix:
        parts.append(f"**What to do:** {chat_fix(error.fix, error.remedy, _FIX_LIMIT)}")
    return Card(title="That did not work", description="\n\n".join(parts), colour=Colour.BAD)


def unexpected_text(error_id: str) -> str:
    """Return the answer to a command that hit a bug; the log has the details under the same id."""
    return (
        f"Something went wrong in the bot (error `{error_id}`). Please try again. "
        "If it happens again, send that id to the bot's operator."
    )


def _refused_card(report: Report) -> Card:
    advice = (
        "Fix the items above and upload the zip again: `/dataset add` stores it, `/dataset check` "
        "only checks it. The attached report names every file."
    )
    errors = sum(finding.severity == "error" for finding in report.findings)
    return Card(
        title=f"{count(errors, 'thing')} to fix",
        description="This dataset cannot be trained on yet. Nothing was stored.",
        colour=Colour.BAD,
        fields=(
            *finding_fields(report),
            Field("What to do", advice),
        ),
    )
