"""A dataset as a message: card, contact sheet, report file and buttons."""

import io

import discord

from bot.discord.answers.long_answer import LongAnswer
from bot.messages.card import Card
from bot.messages.check_text import checked_card
from bot.messages.contact_sheet import draw_sheet
from bot.messages.dataset_text import dataset_card, report_text
from bot.service.datasets import CheckedDataset, Looked, StoredDataset
from bot.service.threads import in_thread

SHEET = "contact-sheet.jpg"


async def send_stored(
    answer: LongAnswer, stored: StoredDataset, view: discord.ui.View, *, is_known: bool
) -> None:
    """Show a stored version; `is_known` if the upload was identical to it."""
    looked, version = stored.looked, stored.version
    card = dataset_card(
        version,
        looked.report,
        looked.groups,
        same_as=stored.same_as,
        others=stored.others,
        is_known=is_known,
    )
    await _send(answer, card, looked, str(version.ref), view)


async def send_checked(answer: LongAnswer, checked: CheckedDataset, view: discord.ui.View) -> None:
    """Show a checked upload."""
    looked = checked.looked
    stored = str(checked.version.ref) if checked.version is not None else None
    card = checked_card(
        checked.name, looked.report, looked.groups, trigger=looked.trigger, stored=stored
    )
    await _send(answer, card, looked, stored or checked.name, view)


def table_file(name: str, content: bytes) -> discord.File:
    """Return the caption table as a file."""
    return discord.File(io.BytesIO(content), filename=f"{name.replace('@', '-')}-captions.csv")


def report_file(name: str, text: str) -> discord.File:
    """Return the full report as a file."""
    return discord.File(io.BytesIO(text.encode()), filename=f"{name.replace('@', '-')}-report.txt")


async def _send(
    answer: LongAnswer, card: Card, looked: Looked, name: str, view: discord.ui.View
) -> None:
    files = [report_file(name, await in_thread(report_text, looked.report))]
    sheet = await in_thread(draw_sheet, looked.report, looked.thumbnails.images())
    if sheet is not None:
        files.insert(0, discord.File(io.BytesIO(sheet), filename=SHEET))
        card = card.with_image(f"attachment://{SHEET}")
    await answer.send(card, files, view)
