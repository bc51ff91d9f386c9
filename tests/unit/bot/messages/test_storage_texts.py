"""What takes up space, what it costs, and what a removal frees and when."""

from datetime import UTC, datetime

from bot.messages.storage import (
    ask_removal_card,
    emptied_card,
    item_removed_card,
    monthly,
    storage_card,
)
from training.estimates.prices import LISTED
from training.files.sizes import GIB, MIB
from training.operations.storage import StorageUse, StoredItem
from training.operations.trash.emptying import Freed
from training.registry.trash import Removal

UNTIL = datetime(2026, 8, 8, 12, 0, tzinfo=UTC)
RUN = StoredItem(kind="run", name="annika-1", size_bytes=2 * GIB)
CACHES = StoredItem(kind="caches", name="all", size_bytes=GIB)
MERGED = StoredItem(kind="merged", name="f" * 64, size_bytes=28 * GIB, detail="base_1 with lora_2")
USE = StorageUse(items=(MERGED, RUN, CACHES), trash=Freed(3, GIB), trash_until=UNTIL)


def test_the_list_says_what_each_item_takes_and_costs_a_month() -> None:
    card = storage_card(USE, USE.items, 0, 10, LISTED)

    assert card.title == "In all 32 GiB, $2.88 a month"
    assert card.description.splitlines() == [
        "**Merged base** · base_1 with lora_2, shared by all servers",
        "28 GiB, $2.52 a month",
        "**annika-1** · run, with its checkpoints",
        "2.0 GiB, $0.18 a month",
        "**Caches** · latents and texts",
        "1.0 GiB, $0.09 a month",
    ]
    assert "1.0 GiB, $0.09 a month. All of it is deleted by 2026-08-08 12:00 UTC." in card.text
    assert card.footer == (
        "Modal charges $0.09 per GiB per month; the account's first 1,024 GiB are free."
    )


def test_on_the_bots_own_disk_nothing_costs_money_and_pages_are_numbered() -> None:
    card = storage_card(USE, [CACHES], 2, 2, None)

    assert "$" not in card.text
    assert card.footer.startswith("Page 2 of 2. On the bot's own disk")


def test_an_empty_server_stores_nothing() -> None:
    empty = StorageUse(items=(), trash=Freed(), trash_until=None)

    assert "Nothing is stored yet." in storage_card(empty, [], 0, 10, None).text


def test_small_items_cost_under_a_cent() -> None:
    assert monthly(MIB, LISTED) == "under $0.01 a month"


def test_a_question_says_how_much_is_freed_and_when() -> None:
    run, caches, merged = (ask_removal_card(item, UNTIL) for item in (RUN, CACHES, MERGED))

    assert "frees 2.0 GiB on 2026-08-08 12:00 UTC, when it leaves the trash" in run.description
    assert "frees 1.0 GiB at once and cannot be undone" in caches.description
    assert "Other servers use it too" not in caches.description
    assert "Other servers use it too" in merged.description


def test_a_removal_says_what_is_freed_later_or_now() -> None:
    removal = Removal(id=f"{1:012x}-01234567", guild="1", kind="runs", items=("annika-1",))

    later, now = item_removed_card(RUN, removal), item_removed_card(CACHES, None)

    assert later.title == "Removed annika-1"
    assert "brings it back." in later.description
    assert "Then 2.0 GiB are freed; **Empty now** in `/storage`" in later.description
    assert (now.title, now.description) == ("Deleted the caches", "1.0 GiB are free now.")


def test_what_open_runs_read_stays_in_the_trash() -> None:
    assert emptied_card(Freed(2, GIB), Freed()).description == "1.0 GiB freed."
    assert "2.0 GiB stay until" in emptied_card(Freed(2, GIB), Freed(1, 2 * GIB)).description
