"""Answers about datasets for any chat platform: a card, files, and the actions to offer."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from bot.messages.card import Card
from bot.messages.datasets.actions import DatasetAction
from bot.messages.datasets.cards import (
    captions_card,
    checked_card,
    dataset_card,
    large_table_card,
    page_card,
    waiting_table_card,
    with_sentence,
)
from bot.messages.datasets.contact_sheet import draw_sheet
from bot.messages.datasets.difference import difference_card, difference_text
from bot.messages.datasets.removal import removal_card
from bot.messages.datasets.report import report_text
from bot.messages.datasets.waiting import bad_files_card, trigger_only_card, waiting_card
from bot.messages.options import in_chat
from bot.messages.trash import removed_card
from bot.service.answer_files import AnswerFile, fitted
from bot.service.datasets import CheckedDataset, DatasetService, Inspection, StoredDataset
from bot.service.rights import GuildMember
from bot.service.threads import in_thread
from training.dataset.report import Media, Report
from training.errors import RequestError
from training.estimates.steps_per_model import suited
from training.registry.dataset_draft import TriggerChange
from training.registry.trash import Removal

# What the user can do about missing captions. "leave-out" is possible only if other samples remain.
_WAYS_ON: tuple[DatasetAction, ...] = ("table", "leave-out", "ask-trigger")
_WITHOUT_OTHERS: tuple[DatasetAction, ...] = ("table", "ask-trigger")


@dataclass(frozen=True, slots=True)
class PageLink:
    """A link to a page, with the label of the button that opens it."""

    label: str
    url: str
    expires_at: datetime


# Makes a link to the caption page of a version or of a waiting upload; None if it has no page.
MakeLink = Callable[[GuildMember, str], Awaitable[PageLink | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetAnswer:
    """An answer to show to a user.

    Attributes:
        about: The version or checked upload that the buttons for `actions` act on.
        trainable: The version that the Train button trains on; "" if there is no such button.
        undoes: The removal that the Undo button undoes; None if there is no such button.
        link: The page that a button opens; None if there is no such button.
    """

    card: Card
    files: tuple[AnswerFile, ...] = ()
    about: str = ""
    actions: tuple[DatasetAction, ...] = ()
    trainable: str = ""
    undoes: Removal | None = None
    link: PageLink | None = None


async def stored_answer(stored: StoredDataset, *, is_known: bool | None = None) -> DatasetAnswer:
    """Show a stored version; `is_known` says whether its content was stored before this upload."""
    card = dataset_card(
        stored.version,
        stored.inspection.report,
        stored.inspection.groups,
        same_as=stored.same_as,
        others=stored.others,
        is_known=not stored.is_new if is_known is None else is_known,
    )
    reference = str(stored.version.ref)
    shown = await _with_files(card, stored.inspection, reference, reference, _for_stored(stored))
    return _with_training(shown, stored.inspection, reference)


async def added_answer(added: StoredDataset | CheckedDataset) -> DatasetAnswer:
    """Show an upload that was stored, or that is kept until the user decides what to do with it."""
    if isinstance(added, StoredDataset):
        return await stored_answer(added)
    return await checked_answer(added)


async def checked_answer(checked: CheckedDataset) -> DatasetAnswer:
    """Show a checked upload, or a stored version that was checked again."""
    inspection = checked.inspection
    stored = str(checked.version.ref) if checked.version is not None else None
    report = inspection.report
    if stored is None and report.can_be_settled and not report.has_unread_layout:
        draw = bad_files_card if report.bad_files else waiting_card
        card = draw(checked.name, report, inspection.trigger)
    else:
        card = checked_card(
            checked.name,
            report,
            inspection.groups,
            trigger=inspection.trigger,
            stored=stored,
        )
    about, name = stored or checked.token or "", stored or checked.name
    shown = await _with_files(card, inspection, name, about, _for_checked(checked))
    return _with_training(shown, inspection, stored) if stored is not None else shown


async def captions_answer(
    datasets: DatasetService, person: GuildMember, reference: str, make_link: MakeLink
) -> DatasetAnswer:
    """Answer with a link to the caption page of a version, and with its captions as a table."""
    version, table = await datasets.captions(person.guild, reference)
    shown = await _table_answer(captions_card(version), str(version.ref), table)
    return await _with_page(shown, person, str(version.ref), make_link)


async def waiting_table_answer(
    datasets: DatasetService, person: GuildMember, token: str, make_link: MakeLink
) -> DatasetAnswer:
    """Answer with the caption page and the caption table of an upload that waits for captions."""
    name, table = await datasets.waiting_table(person.guild, token)
    shown = await _table_answer(waiting_table_card(name), name, table)
    return await _with_page(shown, person, token, make_link)


async def _with_page(
    shown: DatasetAnswer, person: GuildMember, about: str, make_link: MakeLink
) -> DatasetAnswer:
    """Add a link to the caption page, or a sentence on why the person gets none."""
    try:
        link = await make_link(person, about)
    except RequestError as error:
        return replace(shown, card=with_sentence(shown.card, f"{error.cause} {error.fix}"))
    if link is None:
        return shown
    return replace(shown, card=page_card(shown.card, link.expires_at), link=link)


async def _table_answer(card: Card, name: str, table: bytes) -> DatasetAnswer:
    """Answer with a table, zipped if it is large. A zipped table cannot be sent back in chat.

    If the table is too large even when zipped, the answer has no file.
    """
    file = AnswerFile(f"{name.replace('@', '-')}-captions.csv", table)
    sent = await in_thread(fitted, file)
    is_sent_back = sent is not None and not sent.is_zip
    shown = card if is_sent_back else large_table_card(name, len(table), is_sent=sent is not None)
    return DatasetAnswer(card=shown, files=(sent,) if sent is not None else ())


async def difference_answer(
    datasets: DatasetService, guild: str, old: str, new: str
) -> DatasetAnswer:
    """Answer with what changed between two versions."""
    found = await datasets.difference(guild, old, new)
    text = AnswerFile("difference.txt", difference_text(*found).encode())
    file = await in_thread(fitted, text)
    return DatasetAnswer(card=difference_card(*found), files=(file,) if file is not None else ())


async def removal_question(
    datasets: DatasetService, person: GuildMember, reference: str
) -> DatasetAnswer:
    """Ask the user to confirm a removal, listing everything that would be removed."""
    removal = await datasets.ask_to_remove(person, reference)
    # The button's id names the newest version: if a newer one is added before the user confirms,
    # nothing is removed.
    action: DatasetAction = "remove-all" if removal.is_whole else "remove-now"
    return DatasetAnswer(card=removal_card(removal), about=removal.newest, actions=(action,))


async def perform(
    datasets: DatasetService,
    action: DatasetAction,
    person: GuildMember,
    about: str,
    make_link: MakeLink,
) -> DatasetAnswer:
    """Carry out the action of a button and return the answer.

    `about` is a version such as `annika@3`, or the token of a checked upload.
    """
    match action:
        case "captions":
            return await captions_answer(datasets, person, about, make_link)
        case "remove":
            return await removal_question(datasets, person, about)
        case "table":
            return await waiting_table_answer(datasets, person, about, make_link)
        case "ask-trigger":
            return await _trigger_question(datasets, person.guild, about)
        case "leave-out" | "leave-out-bad" | "trigger-only":
            return await added_answer(await _settled(datasets, action, person, about))
        case "layout-check":
            return await checked_answer(await datasets.read_checked(person, about))
        case "remove-now" | "remove-all":
            removed = await datasets.remove(person, about, is_whole=action == "remove-all")
            return DatasetAnswer(card=removed_card(removed), undoes=removed)
        case _:
            return await stored_answer(await _stored(datasets, action, person, about))


async def _settled(
    datasets: DatasetService,
    action: Literal["leave-out", "leave-out-bad", "trigger-only"],
    person: GuildMember,
    about: str,
) -> StoredDataset | CheckedDataset:
    """Resolve the bad files or missing captions of the upload `about`, or of a stored version."""
    edits, by = datasets.edits, person.id
    match action:
        case "leave-out" if "@" in about:
            return await datasets.edit(edits.leave_out, person, about, by=by)
        case "trigger-only" if "@" in about:
            return await datasets.edit(edits.use_trigger_only, person, about, by=by)
        case "leave-out":
            return await datasets.leave_out(person, about)
        case "leave-out-bad":
            return await datasets.leave_out_bad_files(person, about)
        case "trigger-only":
            return await datasets.use_trigger_only(person, about)


async def _stored(
    datasets: DatasetService, action: DatasetAction, person: GuildMember, about: str
) -> StoredDataset:
    """Store a new version made from `about`, which is a stored version or a checked upload."""
    media: Media = "original" if action.endswith("original") else "repaired"
    by = person.id
    if action == "prefix":
        trigger = TriggerChange(is_prefixed=True)
        return await datasets.edit(datasets.edits.set_trigger, person, about, trigger, by=by)
    if action == "layout":
        return await datasets.edit(datasets.edits.read_layout, person, about, by=by)
    if not action.startswith("store"):
        return await datasets.edit(datasets.edits.choose_media, person, about, media, by=by)
    is_prefixed = action == "store-prefix"
    return await datasets.use_checked(person, about, media=media, is_prefixed=is_prefixed)


async def _trigger_question(datasets: DatasetService, guild: str, about: str) -> DatasetAnswer:
    """Explain training on the trigger word alone; offer a button if there is a trigger word."""
    if "@" in about:
        stored = await datasets.show(guild, about)
        name, inspection = stored.version.name, stored.inspection
    else:
        waiting = await datasets.kept(guild, about)
        name, inspection = waiting.name, waiting.inspection
    trigger, missing = inspection.trigger, len(inspection.report.without_caption)
    return DatasetAnswer(
        card=trigger_only_card(name, trigger, missing),
        about=about,
        actions=("trigger-only",) if trigger else (),
    )


async def _with_files(
    card: Card, inspection: Inspection, name: str, about: str, actions: tuple[DatasetAction, ...]
) -> DatasetAnswer:
    files = [report_file(name, await in_thread(report_text, inspection.report, in_chat))]
    sheet = await in_thread(draw_sheet, inspection.report, inspection.thumbnails.images())
    if sheet is not None:
        files.insert(0, AnswerFile(sheet.name, sheet.data, sheet.alt))
        card = replace(card, image=f"attachment://{sheet.name}")
    return DatasetAnswer(card=card, files=tuple(files), about=about, actions=actions)


def _with_training(shown: DatasetAnswer, inspection: Inspection, reference: str) -> DatasetAnswer:
    """Offer to train on a stored version that is complete and suits at least one model."""
    is_suited = inspection.report.is_usable and None in suited(inspection.report).values()
    return replace(shown, trainable=reference) if is_suited else shown


def report_file(name: str, text: str) -> AnswerFile:
    """Return the full report as a file."""
    return AnswerFile(f"{name.replace('@', '-')}-report.txt", text.encode())


def _for_stored(stored: StoredDataset) -> tuple[DatasetAction, ...]:
    report = stored.inspection.report
    actions: list[DatasetAction] = []
    if report.has_unread_layout:
        actions.append("layout")
    if stored.version.without_caption:
        actions += _ways_on(report)[1:]  # the captions come last, as for every version
    if stored.inspection.needs_prefix:
        actions.append("prefix")
    if stored.version.media == "original":
        actions.append("repaired")
    elif stored.inspection.can_keep_original:
        actions.append("original")
    return (*actions, "captions", "remove")


def _for_checked(checked: CheckedDataset) -> tuple[DatasetAction, ...]:
    actions: list[DatasetAction] = []
    inspection = checked.inspection
    if (version := checked.version) is not None:
        if inspection.report.has_unread_layout:
            actions.append("layout")
        # The button prefixes the version's own trigger word, never a different one.
        if version.trigger and inspection.needs_prefix == version.trigger:
            actions.append("prefix")
        return (*actions, "captions", "remove")
    actions = [*_ways_to_settle(inspection.report)]
    if inspection.report.is_usable:
        actions.append("store")
        if inspection.needs_prefix:
            actions.append("store-prefix")
        if inspection.can_keep_original:
            actions.append("store-original")
    return tuple(actions)


def _ways_to_settle(report: Report) -> tuple[DatasetAction, ...]:
    """Return the actions that resolve the layout, bad files or missing captions of an upload."""
    can_leave_out = report.can_be_settled and bool(report.bad_files)
    if report.has_unread_layout:
        return ("layout-check", "leave-out-bad") if can_leave_out else ("layout-check",)
    if can_leave_out:
        return ("leave-out-bad",)
    if not report.without_caption:
        return ()
    return _ways_on(report)


def _ways_on(report: Report) -> tuple[DatasetAction, ...]:
    """Return what can be done about missing captions."""
    has_others = len(report.without_caption) < len(report.samples)
    return _WAYS_ON if has_others else _WITHOUT_OTHERS
