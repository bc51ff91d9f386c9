"""What uploads cost a Volume, and what they lose, when a container ends or the Volume is full."""

import asyncio
from pathlib import Path

import pytest

from bot.service.threads import in_thread
from bot.service.uploads.uploads import SAVE_SECONDS, UploadLink
from tests.unit.bot.web.upload_side import DATA, UploadSide, headers
from tests.wire.modal.hosting import Hosting
from training.files.sizes import MIB
from training.registry.uploads.files import PART_BYTES

# One each: the link, its browser, the files, the dataset, the result, the deletion of the files.
LAYERS_OF_AN_UPLOAD = 6
MOST_LAYERS_A_MINUTE = 1  # while data arrives, however many people send


@pytest.fixture
def deployed(hosted: Hosting) -> Hosting:
    return hosted


def layers(hosted: Hosting) -> int:
    """Return how often the Volume of datasets was changed."""
    volumes = hosted.loopback.plane.volumes.volumes.values()
    name = hosted.deployment.volume("datasets")
    return sum(volume.changes for volume in volumes if volume.name == name)


async def sent(uploads: UploadSide, archive: Path, *, name: str = "annika") -> UploadLink:
    link, data = await uploads.link(name), await in_thread(archive.read_bytes)
    await uploads.open(link)
    place = (await uploads.create(link, archive.name, len(data))).headers["location"]
    assert (await uploads.send(link, place, data)).status_code == 204
    return link


async def finished(uploads: UploadSide, link: UploadLink) -> str:
    """Let the server check what was sent; return the status of the link."""
    place = f"/uploads/{link.session}"
    (await uploads.client.post(f"{place}/finish", headers=headers(link))).raise_for_status()
    while True:
        state = (await uploads.client.get(place, headers=headers(link))).json()
        if state["status"] != "complete":
            return state["status"]
        await asyncio.sleep(0.05)  # no event announces the end of a check


def test_data_is_stored_in_parts_once_a_minute() -> None:
    assert PART_BYTES == 64 * MIB
    assert SAVE_SECONDS / 60 == MOST_LAYERS_A_MINUTE


async def test_an_upload_changes_the_volume_a_few_times(
    uploads: UploadSide, hosted: Hosting, archive: Path
) -> None:
    before = layers(hosted)

    link = await sent(uploads, archive)
    status = await finished(uploads, link)
    await uploads.client.get(f"/uploads/{link.session}/answer", headers=headers(link))

    assert status == "done"
    assert layers(hosted) - before <= LAYERS_OF_AN_UPLOAD


async def test_a_killed_container_loses_only_what_came_after_the_last_save(
    uploads: UploadSide, hosted: Hosting, archive: Path
) -> None:
    link, place = await uploads.begun(1000)
    other = await sent(uploads, archive, name="other")
    await finished(uploads, other)  # saves what has arrived in all uploads
    await uploads.send(link, place, DATA[1000:3000], 1000)
    (container,) = hosted.bots()

    await in_thread(hosted.loopback.kill, container)
    await in_thread(lambda: hosted.wait_until_it_serves(except_for=(container,)))

    assert await uploads.offset(link, place) == 1000
    assert (await uploads.send(link, place, DATA[1000:], 1000)).status_code == 204
    assert await uploads.content(link) == DATA


async def test_an_ended_container_loses_nothing(uploads: UploadSide, hosted: Hosting) -> None:
    link, place = await uploads.begun(3000)
    (container,) = hosted.bots()

    hosted.loopback.preempt(container)
    await in_thread(lambda: hosted.wait_until_it_serves(except_for=(container,)))

    assert await uploads.offset(link, place) == 3000


async def test_a_full_volume_says_so_and_keeps_what_arrived(
    uploads: UploadSide, hosted: Hosting, archive: Path
) -> None:
    link = await sent(uploads, archive)
    place, volume = f"/uploads/{link.session}", hosted.deployment.volume("datasets")

    hosted.loopback.set_volume_limit(volume, 1)
    try:
        refused = await uploads.client.post(f"{place}/finish", headers=headers(link))
    finally:
        hosted.loopback.set_volume_limit(volume, None)
    size = (await in_thread(archive.stat)).st_size

    assert refused.status_code == 507
    assert "The data received so far is kept" in refused.json()["cause"]
    assert await uploads.received(link) == size
    assert await finished(uploads, link) == "done"
