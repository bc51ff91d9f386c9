"""Records of cards: changes that happen at once are all stored."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bot.discord.cards.card_records import CardRecord, CardRecords
from storage.local.store import FolderStore

RUN = ("1", "mine")


async def test_changes_at_once_are_all_stored_even_if_one_of_them_is_the_last(
    tmp_path: Path,
) -> None:
    with ThreadPoolExecutor(1) as threads:
        records = CardRecords(FolderStore(tmp_path), threads)
        await records.save(CardRecord(guild="1", run="mine", channel=5, message=6))

        await asyncio.gather(
            records.change(RUN, is_told=True),
            records.change(RUN, shows_end=True),
            records.change(RUN, is_thread_done=True),
        )
        stored = await CardRecords(FolderStore(tmp_path), threads).of(RUN)

    assert stored is not None
    assert stored.is_done
