"""Many uploads at once wait for each other, but other commands do not wait for them."""

import asyncio
import threading
from pathlib import Path

import pytest

from bot.hosting.local import LocalInstallation
from bot.service.datasets import INSPECTIONS_AT_ONCE, DatasetService
from bot.service.rights import Rights
from bot.service.server_settings import SettingsStore
from bot.service.threads import in_thread
from bot.settings import Settings
from training.errors import DatasetError
from training.registry.dataset_draft import DatasetDraft, Upload


async def test_other_commands_are_served_while_many_uploads_are_inspected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    local = LocalInstallation(Settings(home=tmp_path))
    service = DatasetService(local, Rights(SettingsStore(local.runtime)))
    upload = Upload(archive=tmp_path / "x.zip", by="7", file_name="x.zip")
    begun, may_end = threading.Semaphore(0), threading.Event()

    def inspect(*_: object) -> DatasetDraft:
        begun.release()
        may_end.wait(60)
        raise DatasetError("It was looked at.", "")

    monkeypatch.setattr(local.datasets, "inspect", inspect)
    looks = [asyncio.create_task(service.check("g", "x", upload)) for _ in range(40)]
    try:
        for _ in range(INSPECTIONS_AT_ONCE):
            assert await asyncio.to_thread(begun.acquire, timeout=60)
        async with asyncio.timeout(30):
            others = await in_thread(local.datasets.newest, "g")
        is_one_more = begun.acquire(blocking=False)
    finally:
        may_end.set()
    ended = await asyncio.gather(*looks, return_exceptions=True)

    assert others == ([], [])
    assert not is_one_more
    assert {str(error) for error in ended} == {"It was looked at. "}
