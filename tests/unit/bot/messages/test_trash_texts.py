"""What messages say about what was removed and restored."""

from datetime import UTC, datetime

from bot.messages.datasets.cards import dataset_list
from bot.messages.installation import clean_up_card
from bot.messages.loras import lora_list
from bot.messages.runs.answers import runs_card
from bot.messages.trash import removal_label, removed_card, removed_run_card, restored_text
from training.operations.clean_up import CleanUpNotice
from training.operations.run_list import RunPage
from training.operations.trash.restoring import Restorable
from training.operations.trash.run_removal import RemovedRun
from training.registry.trash import Removal
from training.store_keys import TrashKind

AT = datetime(2026, 8, 1, 12, 0, tzinfo=UTC)
UNTIL = "2026-08-08 12:00 UTC"


def removal(kind: TrashKind, *items: str) -> Removal:
    removal_id = f"{int(AT.timestamp() * 1000):012x}-01234567"
    return Removal(id=removal_id, guild="1", kind=kind, items=items)


def test_a_removal_names_what_is_gone_and_the_way_back() -> None:
    whole = removed_card(removal("datasets", "annika@1", "annika@2"))
    one = removed_card(removal("datasets", "annika@2"))
    lora = removed_card(removal("checkpoints", "old~2"))

    assert whole.title == "Removed annika, 2 versions"
    assert "**annika@1**\n**annika@2**" in whole.description
    assert "keep their checkpoints" in whole.description
    assert f"Until {UNTIL}, Undo or `/dataset restore name:annika` brings it back." in whole.text
    assert one.title == "Removed annika@2"
    assert "`/dataset restore name:annika@2`" in one.text
    assert lora.title == "Removed checkpoint old"
    assert "`/checkpoint restore name:old`" in lora.text


def test_a_removed_run_names_what_went_with_it() -> None:
    card = removed_run_card(RemovedRun(removal("runs", "mine"), "mine", 3, 3 << 20))

    assert card.title == "Removed mine"
    assert "3 checkpoints and everything else it saved, 3.0 MiB in all. Links" in card.text
    assert "`/run restore run-name:mine`" in card.text


def test_what_is_back_is_named() -> None:
    items = {removal("datasets", "annika@1", "annika@2"): ("annika@1", "annika@2")}
    two = Restorable(guild="1", kind="datasets", items=items, owners=frozenset("7"))
    lora = {removal("checkpoints", "old~2"): ("old~2",)}
    one = Restorable(guild="1", kind="checkpoints", items=lora, owners=frozenset("7"))

    assert restored_text(two) == "annika@1 and annika@2 are back."
    assert restored_text(one) == "old is back."


def test_lists_show_what_can_be_restored() -> None:
    lists = [
        dataset_list([], [removal("datasets", "annika@1", "annika@2")]),
        lora_list([], "1", [removal("checkpoints", "old~2")]),
        runs_card(RunPage(0, []), [removal("runs", "mine")]),
    ]

    shown = [
        f"\n{name}, until {UNTIL}" in card.text
        for name, card in zip(("annika", "old", "mine"), lists, strict=True)
    ]
    assert shown == [True, True, True]
    assert all("Removed in the last 7 days: `/" in card.text for card in lists)
    assert "Removed in" not in dataset_list([]).text
    assert removal_label(removal("runs", "mine")) == (
        f"mine (removed 2026-08-01 12:00 UTC, until {UNTIL})"
    )


def test_a_clean_up_tells_what_it_emptied() -> None:
    notice = CleanUpNotice(
        guild="1",
        channel="5",
        at=AT,
        cache_files=0,
        cache_bytes=0,
        shared_bytes=0,
        trash_files=4,
        trash_bytes=3 << 30,
    )

    card = clean_up_card(notice)

    assert "- 3.0 GiB of files removed from this server at least 7 days ago" in card.text
    assert "kept until somebody removes them" in card.text
