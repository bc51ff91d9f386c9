"""A set that was only looked at, in words, and how far the look has come."""

from bot.messages.card import Card, Colour, Field
from bot.messages.dataset_text import finding_fields, report_colour, report_fields
from bot.messages.figures import bar, count
from bot.messages.markdown import escape
from training.dataset.config.guide_groups import GroupPlan
from training.dataset.report import Report
from training.registry.checked_uploads import KEPT_HOURS
from training.registry.datasets import DatasetVersion


def checked_card(
    name: str, report: Report, groups: GroupPlan, *, trigger: str | None, stored: str | None
) -> Card:
    """Return what was found; `stored` names the version, where one was checked again."""
    if stored is None:
        lines = [
            "Only checked: no dataset was stored. Until "
            f"{KEPT_HOURS} hours from now the buttons below make **{name}** of this upload."
        ]
    else:
        lines = [f"**{stored}** was checked again by today's rules; nothing was stored."]
    if trigger is not None:
        lines.append(f"Trigger word: **{escape(trigger)}**.")
    return Card(
        title=f"{stored or name}, checked",
        description="\n".join(lines),
        colour=report_colour(report),
        fields=report_fields(report, groups),
        footer="The attached report says everything.",
    )


def looking_text(done: int, total: int) -> str:
    """Return how far an inspection has come."""
    return f"Looking at every file: {bar(done, total)}, {done:,} of {count(total, 'file')}"


def captions_card(version: DatasetVersion) -> Card:
    """Return how to edit the captions that are attached as a table."""
    return Card(
        title=f"Captions of {version.ref}",
        description="Open the table in Excel, Google Sheets or a text editor, change the column "
        "*caption*, save it as CSV (UTF-8), and send it back with "
        f"`/dataset captions name:{version.ref} file:`; that makes a new version. "
        "Leave the column *file* and the number of rows as they are.",
    )


def refused_card(report: Report) -> Card:
    """Return why a set cannot be used, with the way to try again in chat."""
    return Card(
        title="That did not work",
        description="The dataset cannot be trained on as it is. Nothing was stored.",
        colour=Colour.BAD,
        fields=(
            *finding_fields(report),
            Field(
                "What to do",
                "Mend what must be changed and send the zip again: `/dataset check` looks at it "
                "without storing anything, `/dataset add` stores it. The attached report names "
                "every file.",
            ),
        ),
    )
