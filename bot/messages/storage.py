"""Texts about what takes up space: the list, its cost, and what a removal frees and when."""

from collections.abc import Sequence
from datetime import datetime

from bot.messages.card import DESCRIPTION_LIMIT, Card, Colour, Field
from bot.messages.figures import page_text
from bot.messages.markdown import escape, join_lines
from bot.messages.trash import removed_card
from training.estimates.prices import FREE_GIB, MachinePrices
from training.files.sizes import GIB, size
from training.operations.storage import SHARED, StorageUse, StoredItem
from training.operations.trash.emptying import Freed
from training.registry.trash import Removal, day
from training.wording import count

_CENT = 0.01


def item_name(item: StoredItem) -> str:
    """Return the name of an item: `annika@3`, `Caches`."""
    match item.kind:
        case "caches":
            return "Caches"
        case "weights":
            return "Model weights"
        case "merged":
            return "Merged base"
        case _:
            return item.name


def item_kind(item: StoredItem) -> str:
    """Return what an item is, such as `run, with its checkpoints`."""
    match item.kind:
        case "dataset":
            return "dataset, all versions"
        case "run":
            return "run, with its checkpoints"
        case "checkpoint":
            return "checkpoint to start from"
        case "caches":
            return "latents and texts"
        case "merged":
            return f"{item.detail}, shared by all servers"
        case "weights":
            return "downloaded, shared by all servers"


def monthly(size_bytes: int, prices: MachinePrices) -> str:
    """Return the cost of storing so many bytes: `$1.08 a month`."""
    usd = size_bytes / GIB * prices.gib_month
    return f"${usd:,.2f} a month" if usd >= _CENT else "under $0.01 a month"


def storage_card(
    use: StorageUse,
    page: Sequence[StoredItem],
    skipped: int,
    most: int,
    prices: MachinePrices | None,
) -> Card:
    """Return a card with one page of what takes up space.

    Args:
        use: Everything that takes up space.
        page: The items to show, at most `most`.
        skipped: Number of items on the pages before.
        most: Number of items on a page.
        prices: What storage costs; None if it costs nothing.
    """
    fields: list[Field] = []
    if use.trash.size_bytes and use.trash_until is not None:
        text = f"{_figures(use.trash.size_bytes, prices)}. All of it is deleted by "
        fields.append(Field("In the trash", f"{text}{day(use.trash_until)}."))
    lines = [
        f"**{item_name(item)}** · {escape(item_kind(item))}\n{_figures(item.size_bytes, prices)}"
        for item in page
    ]
    return Card(
        title=f"In all {_figures(use.size_bytes, prices)}" if use.size_bytes else "Storage",
        description=join_lines(lines, DESCRIPTION_LIMIT) if lines else "Nothing is stored yet.",
        fields=tuple(fields),
        footer=f"{page_text(skipped, len(use.items), most)}{_price_text(prices)}".strip(),
    )


def can_be_removed(item: StoredItem) -> bool:
    return item.kind != "weights"


def removal_text(item: StoredItem, until: datetime) -> str:
    """Return what the removal of an item frees and when, and how it can be undone.

    `until` is the time at which the item would leave the trash.
    """
    frees = f"This frees {size(item.size_bytes)}"
    if item.can_be_restored:
        return f"{frees} on {day(until)}, when it leaves the trash. Until then, it can be restored."
    again = "The next run recreates what it needs, which takes time."
    others = " Other servers use it too." if item.kind in SHARED else ""
    return f"{frees} at once and cannot be undone. {again}{others}"


def ask_removal_card(item: StoredItem, until: datetime) -> Card:
    """Return a card that asks whether to remove an item; see `removal_text`."""
    return Card(
        title=f"Remove {_what(item)}?",
        description=f"{escape(item_kind(item)).capitalize()}.\n{removal_text(item, until)}\n"
        "Dismiss this message to keep it.",
        colour=Colour.WARNING,
    )


def item_removed_card(item: StoredItem, removal: Removal | None) -> Card:
    """Return a card that says what was removed, and when its space is freed."""
    freed = size(item.size_bytes)
    if removal is None:
        return Card(title=f"Deleted {_what(item)}", description=f"{freed} are free now.")
    card = removed_card(removal)
    then = f"Then {freed} are freed; **Empty now** in `/storage` frees them at once."
    return Card(title=card.title, description=f"{card.description}\n{then}")


def ask_to_empty_card(held: Freed) -> Card:
    """Return a card that asks whether to empty the trash."""
    return Card(
        title="Empty the trash?",
        description=f"This deletes {count(held.files, 'file')}, {size(held.size_bytes)}, for good: "
        "they can no longer be restored. Dismiss this message to keep them.",
        colour=Colour.WARNING,
    )


def emptied_card(freed: Freed, left: Freed) -> Card:
    """Return a card that says what was deleted, and what stays in the trash."""
    stays = ""
    if left.files:
        stays = f" {size(left.size_bytes)} stay until the runs that read them have ended."
    return Card(title="Emptied the trash", description=f"{size(freed.size_bytes)} freed.{stays}")


def _what(item: StoredItem) -> str:
    """Return an item's name in a form that fits into a sentence."""
    return f"the {item_name(item).lower()}" if item.kind in ("caches", "merged") else item.name


def _figures(size_bytes: int, prices: MachinePrices | None) -> str:
    cost = f", {monthly(size_bytes, prices)}" if prices is not None else ""
    return f"{size(size_bytes)}{cost}"


def _price_text(prices: MachinePrices | None) -> str:
    if prices is None:
        return "On the bot's own disk, so it costs nothing."
    rate = f"${prices.gib_month:.2f} per GiB per month"
    return f"Modal charges {rate}; the account's first {FREE_GIB:,} GiB are free."
