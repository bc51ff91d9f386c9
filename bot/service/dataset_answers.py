"""Answers about datasets for any chat platform: a card, files, and the actions to offer."""

from dataclasses import dataclass, replace
from typing import Literal

from bot.messages.card import Card
from bot.messages.datasets.actions import DatasetAction
from bot.messages.datasets.cards import (
    LARGE_TABLE,
    captions_card,
    checked_card,
    dataset_card,
    large_table_card,
    waiting_table_card,
)
from bot.messages.datasets.contact_sheet import draw_sheet
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
from training.files.sizes import size
from training.registry.dataset_draft import TriggerChange
from training.registry.trash import Removal

# What the user can do about missing captions. "leave-out" is possible only if other samples remain.
_WAYS_ON: tuple[DatasetAction, ...] = ("table", "leave-out", "ask-trigger")
_WITHOUT_OTHERS: tuple[DatasetAction, ...] = ("table", "ask-trigger")


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetAnswer:
    """An answer to show to a user.

    Attributes:
        about: The version or checked upload that the buttons for `actions` act on.
        trainable: The version that the Train button trains on; "" if there is no such button.
        undoes: The removal that the Undo button undoes; None if there is no such button.
    """

    card: Card
    files: tuple[AnswerFile, ...] = ()
    about: str = ""
    actions: tuple[DatasetAction, ...] = ()
    trainable: str = ""
    undoes: Removal | None = None


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


async def captions_answer(datasets: DatasetService, guild: str, reference: str) -> DatasetAnswer:
    """Answer with the captions of a version as a table."""
    version, table = await datasets.captions(guild, reference)
    return await _table_answer(captions_card(version), str(version.ref), table)


async def waiting_table_answer(datasets: DatasetService, guild: str, token: str) -> DatasetAnswer:
    """Answer with the caption table of an upload that waits for captions."""
    name, table = await datasets.waiting_table(guild, token)
    return await _table_answer(waiting_table_card(name), name, table)


async def _table_answer(card: Card, name: str, table: bytes) -> DatasetAnswer:
    """Answer with a table, zipped if it is large. A zipped table cannot be sent back in chat.

    Raises:
        RequestError: The table is too large even when zipped.
    """
    file = AnswerFile(f"{name.replace('@', '-')}-captions.csv", table)
    sent = await in_thread(fitted, file)
    if sent is None:
        raise RequestError(
            f"The captions of {name} are {size(len(table))}, more than Discord accepts in a file.",
            LARGE_TABLE,
        )
    shown = large_table_card(name, len(table)) if sent.is_zip else card
    return DatasetAnswer(card=shown, files=(sent,))


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
    datasets: DatasetService, action: DatasetAction, person: GuildMember, about: str
) -> DatasetAnswer:
    """Carry out the action of a button and return the answer."""
    match action:
        case "captions":
            return await captions_answer(datasets, person.guild, about)
        case "remove":
            return await removal_question(datasets, person, about)
        case "table":
            return await waiting_table_answer(datasets, person.guild, about)
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
    token: str,
) -> StoredDataset | CheckedDataset:
    """Resolve the bad files or missing captions of the upload `token`."""
    match action:
        case "leave-out":
            return await datasets.leave_out(person, token)
        case "leave-out-bad":
            return await datasets.leave_out_bad_files(person, token)
        case "trigger-only":
            return await datasets.use_trigger_only(person, token)


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


async def _trigger_question(datasets: DatasetService, guild: str, token: str) -> DatasetAnswer:
    """Explain training on the trigger word alone; offer a button if there is a trigger word."""
    waiting = await datasets.kept(guild, token)
    trigger, missing = waiting.inspection.trigger, len(waiting.inspection.report.without_caption)
    return DatasetAnswer(
        card=trigger_only_card(waiting.name, trigger, missing),
        about=token,
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
    """Offer to train on a stored version that suits at least one model."""
    is_suited = None in suited(inspection.report).values()
    return replace(shown, trainable=reference) if is_suited else shown


def report_file(name: str, text: str) -> AnswerFile:
    """Return the full report as a file."""
    return AnswerFile(f"{name.replace('@', '-')}-report.txt", text.encode())


def _for_stored(stored: StoredDataset) -> tuple[DatasetAction, ...]:
    actions: list[DatasetAction] = []
    if stored.inspection.report.has_unread_layout:
        actions.append("layout")
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
    has_others = len(report.without_caption) < len(report.samples)
    return _WAYS_ON if has_others else _WITHOUT_OTHERS
