"""The bot empties the trash of its machine, once a day, as the schedule on Modal does."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bot.hosting.local import LocalInstallation
from bot.service import service as service_module
from bot.service.links import LinkSigner
from bot.service.service import Service
from bot.service.threads import in_thread
from bot.settings import Settings
from training import store_keys
from training.errors import RequestError
from training.registry.trash import TRASH_DAYS, Trash

GUILD = "7"


def remove(local: LocalInstallation, name: str, days_ago: float) -> Path:
    """Store a LoRA file that was removed so many days ago, and return its folder."""
    store = local.runtime.store
    store.write(f"{store_keys.lora(GUILD, name)}/file", b"1")
    at = datetime.now(UTC) - timedelta(days=days_ago)
    Trash(store, lambda: at).put(GUILD, "checkpoints", [name], by="1")
    return store.path(store_keys.lora(GUILD, name))


async def test_the_running_bot_empties_the_trash_even_after_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    local = LocalInstallation(Settings(home=tmp_path))
    old, new = remove(local, "old", TRASH_DAYS + 0.1), remove(local, "new", TRASH_DAYS - 0.1)
    service = Service(local, LinkSigner(b"secret", hours=1), "rehearsal")
    loop, is_done, clean_up = asyncio.get_running_loop(), asyncio.Event(), local.clean_up_daily
    errors = iter([OSError("the disk is gone"), RequestError("It is damaged.", "")])

    def fail_twice() -> None:
        if (error := next(errors, None)) is not None:
            raise error
        clean_up()
        loop.call_soon_threadsafe(is_done.set)

    monkeypatch.setattr(local, "clean_up_daily", fail_twice)
    monkeypatch.setattr(service_module, "_CLEAN_UP_SECONDS", 0)
    keeping = asyncio.create_task(service.keep_clean())
    async with asyncio.timeout(60):
        await is_done.wait()
    keeping.cancel()

    assert await in_thread(lambda: (old.exists(), new.exists())) == (False, True)
    assert caplog.text.count("the daily clean-up failed") == 2


def test_a_machine_is_cleaned_up_once_a_day(tmp_path: Path) -> None:
    local = LocalInstallation(Settings(home=tmp_path))
    local.clean_up_daily()
    old = remove(local, "old", TRASH_DAYS + 0.1)

    local.clean_up_daily()

    assert old.exists()
