"""Files too large for chat: from the link to the dataset, in a real browser."""

import asyncio
import os
import re
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.async_api import BrowserContext, Error, Route, expect

from bot.service.threads import in_thread
from bot.web.browser import LINK_HEADER
from tests.adapters import tensors, widths, write_adapter
from tests.media import png, write_zip
from tests.wire.bot.chat import Chat
from tests.wire.bot.line import Line
from tests.wire.bot.newcomer import Newcomer
from tests.wire.bot.stored import versions
from tests.wire.bot.upload_page import drop, drop_folder, link
from tests.wire.browser import CHROMIUM, open_page
from tests.wire.web.pictures import PHONE, look
from tests.wire.web.site import Site
from training.files.sizes import MIB
from training.store_keys import ORIGINAL, dataset

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here")

_RUN = "large-wan22-t2v-vanilla"
# Bytes do not change what is tested, only how long it takes; `make upload` sends 300 MiB.
_MIB = int(os.environ.get("LORABOT_UPLOAD_MIB", "24"))
_SIDE, _IMAGE_MIB = 2048, 12  # a picture of noise, which no compression shrinks
# Waits are as long as the test's own limit, so that only this judges the time.
_MOST_SECONDS = 1800
# Keeps everything that the page says about the progress.
_LISTEN = """() => {
    const line = document.getElementById("summary");
    window.said = [];
    new MutationObserver(() => said.push(line.textContent)).observe(line, { childList: true });
}"""
_MOST_HEADER_BYTES = MIB  # of all requests of a page that waits for a long check


def large_set(path: Path) -> Path:
    """Write a zip of `_MIB`."""
    noise = np.random.default_rng(1)
    files: dict[str, bytes | str] = {}
    for index in range(_MIB // _IMAGE_MIB):
        picture = path.with_name(f"{index}.png")
        pixels = noise.integers(0, 256, (_SIDE, _SIDE, 3), np.uint8)
        Image.fromarray(pixels).save(picture, compress_level=0)
        files |= {picture.name: picture.read_bytes(), f"{index}.txt": f"ann1ka, picture {index}"}
    return write_zip(path, files)


async def test_a_zip_is_sent_and_its_report_appears_on_the_page_and_in_the_channel(
    ada: Chat, site: Site, archive: Path, tmp_path: Path
) -> None:
    url = await link(ada, trigger="ann1ka")

    async with open_page(url) as page:
        await expect(page.get_by_role("heading", name="Upload to annika")).to_be_visible()
        await look(page, "upload-empty", tmp_path)
        await drop(page, archive)
        result = page.get_by_role("article")
        await expect(result).to_contain_text("annika@1")
        await look(page, "upload-done", tmp_path)

    message = await ada.user.wait_for(
        lambda m: not m.ephemeral and "annika@1" in m.text and "Captions" in m.buttons
    )
    assert "Uploaded by" in message.text
    assert "Version 1 of **annika**, uploaded." in message.text
    (version,) = await in_thread(versions, site.installation)
    assert version.trigger == "ann1ka"


async def test_a_zip_is_looked_at_before_it_is_sent(ada: Chat, tmp_path: Path) -> None:
    media = {f"{index}.png": png(64, 64) for index in range(5)}
    bare = write_zip(tmp_path / "アニカ.zip", {**media, "0.txt": "ann1ka"})
    empty = write_zip(tmp_path / "empty.zip", {"notes.txt": "x"})
    cut = tmp_path / "cut.zip"
    cut.write_bytes(bare.read_bytes()[:-30])
    part = tmp_path / "set.zip.001"
    part.write_bytes(bare.read_bytes())
    others = [tmp_path / name for name in ("set.z02", "set.zip.002.zip", "set.rar")]
    for other in others:
        other.write_bytes(bytes(100))
    hand = write_zip(tmp_path / "set.part2.zip", {**media, "0.txt": "ann1ka"})
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"not a picture")

    async with open_page(await link(ada)) as page:
        await drop(page, bare, empty, cut, part, broken, hand, *others)
        await page.get_by_role("checkbox").uncheck()
        rows = page.get_by_role("listitem")
        await expect(rows.filter(has_text="アニカ.zip")).to_contain_text(
            "5 images and clips; without a caption: 1.png, 2.png, 3.png and 1 more"
        )
        await expect(rows.filter(has_text="empty.zip")).to_contain_text("no images and no clips")
        await expect(rows.filter(has_text="cut.zip")).to_contain_text("not a complete zip")
        await expect(rows.filter(has_text="set.zip.001")).to_contain_text("part of a split archive")
        for name in ("set.z02", "set.zip.002.zip"):
            await expect(rows.filter(has_text=name)).to_contain_text("part of a split archive")
        await expect(rows.filter(has_text="set.rar")).to_contain_text("this is a .rar archive")
        await expect(rows.filter(has_text="set.part2.zip")).to_contain_text("without a caption")
        await expect(rows.filter(has_text="broken.png")).to_contain_text("cannot open the picture")
        await expect(rows.filter(has_text="アニカ.zip")).to_contain_text("arrived")
        await expect(page.get_by_text("remove the 6 files in red to go on")).to_be_visible()
        await look(page, "upload-notes", tmp_path)
        for name in ("empty.zip", "cut.zip", "set.zip.001", *(other.name for other in others)):
            await page.get_by_role("button", name=f"Remove {name}").click()

        await expect(page.get_by_role("button", name="Check and store")).to_be_enabled()


async def test_a_file_dropped_before_the_page_has_opened_is_sent(ada: Chat, archive: Path) -> None:
    may_open = asyncio.Event()

    async def hold(route: Route) -> None:
        await may_open.wait()
        await route.continue_()

    async with open_page(await link(ada)) as page:
        await page.route(re.compile(r"/uploads/[^/]+$"), hold)  # what the link takes
        await page.reload()
        await drop(page, archive)
        may_open.set()

        await expect(page.get_by_role("article")).to_contain_text("annika@1")


async def test_captions_missing_in_a_folder_are_seen_before_it_is_sent(
    ada: Chat, tmp_path: Path
) -> None:
    folder = tmp_path / "annika"
    folder.mkdir()
    for name in ("1.png", "2.png", "3.png", "10.png", "20.png"):
        (folder / name).write_bytes(png(64, 64))
    (folder / "10.txt").write_text("ann1ka")

    async with open_page(await link(ada)) as page:
        await page.route("**/uploads/*/files", lambda route: route.abort())  # nothing is sent
        await page.locator("#folder").set_input_files(folder)
        note = "5 images and clips; without a caption: 1.png, 2.png, 3.png and 1 more"
        await expect(page.get_by_text(note)).to_be_visible()
        await look(page, "upload-folder", tmp_path)


async def test_several_zips_and_a_folder_are_paused_and_become_one_dataset(
    ada: Chat, tmp_path: Path
) -> None:
    zips = [
        write_zip(tmp_path / f"{n}.zip", {f"{n}.png": png(512, 480, seed=n), f"{n}.txt": "ann1ka"})
        for n in range(2)
    ]
    inner = tmp_path / "annika" / "more"
    inner.mkdir(parents=True)
    (inner / "2.png").write_bytes(png(512, 480, seed=2))
    (inner / "2.txt").write_text("ann1ka")
    is_resumed = asyncio.Event()

    async def hold(route: Route) -> None:
        await is_resumed.wait()
        with suppress(Error):  # the request that the pause has ended
            await route.continue_()

    async with open_page(await link(ada, "several")) as page:
        await expect(page.get_by_text("Up to 6.0 GiB and 10,000 files in all")).to_be_visible()
        await page.route("**/uploads/*/files/*", hold)
        await drop(page, *zips)
        await drop_folder(page, inner.parent)
        await expect(page.get_by_text("annika/more/2.png")).to_be_visible()
        await page.get_by_role("button", name="Pause").click()
        await expect(page.get_by_role("status").first).to_contain_text("paused")
        is_resumed.set()
        await page.get_by_role("button", name="Resume").click()

        await expect(page.get_by_role("article")).to_contain_text("several@1")
        await expect(page.get_by_role("article")).to_contain_text("3 images")


async def test_a_lora_is_sent_and_listed(ada: Chat, tmp_path: Path) -> None:
    model = "wan21-t2v-1-3b"
    file = write_adapter(tmp_path / "old.safetensors", tensors(widths(model)))
    answer = await ada.ask("checkpoint upload", model=model, name="mine")
    (url,) = (str(one["url"]) for one in answer.buttons.values() if "url" in one)

    async with open_page(url) as page:
        await expect(page.get_by_role("heading", name=f"LoRA for {model}")).to_be_visible()
        await expect(page.get_by_text("One .safetensors file of up to 6.0 GiB.")).to_be_visible()
        await drop(page, file)
        await expect(page.get_by_role("article")).to_contain_text("mine")
        await look(page, "upload-lora", tmp_path)

    assert "**mine**" in (await ada.ask("checkpoint list")).text


@pytest.mark.slow
@pytest.mark.timeout(_MOST_SECONDS)
async def test_a_large_set_outlives_cuts_a_restart_and_a_lost_tab_and_is_trained_on(
    ada: Chat, site: Site, tmp_path: Path
) -> None:
    archive = await in_thread(large_set, tmp_path / "large.zip")
    size = (await in_thread(archive.stat)).st_size
    url = await link(ada, "large", trigger="ann1ka")
    cuts = [int(size * share) for share in (0.2, 0.4, 0.6)]
    async with Line(site.url, cuts) as line, open_page(line.through(url)) as page:
        await page.evaluate(_LISTEN)
        await drop(page, archive)
        await line.is_down.wait()
        await expect(page.get_by_text("connection lost, trying again")).to_be_visible()
        await look(page, "upload-cut", tmp_path)
        said = "\n".join(await page.evaluate("said"))
        context = page.context
        await page.close(run_before_unload=False)
        had = await received(context, url)
        await site.restart()
        kept = await received(context, url)
        line.mend()

        sent = line.sent_bytes
        page = await context.new_page()
        await page.goto(line.through(url))
        row = page.get_by_role("listitem").filter(has_text="large.zip")
        await expect(row).to_contain_text(f"{100 * kept // size}%, add it again")
        await look(page, "upload-resumed", tmp_path)
        await drop(page, archive)
        await expect(page.get_by_role("article")).to_contain_text(
            "large@1", timeout=1000 * _MOST_SECONDS
        )
        sent_again = line.sent_bytes - sent

    assert re.search(r"^[\d.]+ MiB of \d+ MiB · \d+.*/s · \d+.* left$", said, re.MULTILINE), said
    assert 0 < had <= kept < size
    assert sent_again < size - kept + _MOST_HEADER_BYTES
    assert await in_thread(original, site) == await in_thread(archive.read_bytes)
    await ada.ask("train", model="wan22-t2v-vanilla", dataset="large", epochs=2, save_every=1)
    await ada.ping(_RUN, patience_seconds=_MOST_SECONDS)

    await download_on_a_phone(site, tmp_path)


async def received(context: BrowserContext, url: str) -> int:
    """Return how many bytes of the only file of a link the bot has, as soon as it has any."""
    base, token = url.split("/upload#")
    place = f"{base}/uploads/{token.split('.')[1]}"
    while True:
        answer = await context.request.get(place, headers={LINK_HEADER: token})
        if answer.ok and (count := sum(one["received"] for one in (await answer.json())["files"])):
            return count
        await asyncio.sleep(0.1)  # no event announces what arrives


def original(site: Site) -> bytes:
    (version,) = versions(site.installation, "large")
    store = site.installation.runtime.store
    (guild,) = (one for one in site.installation.guilds() if store.exists(dataset(one, "large", 1)))
    return store.read(f"{dataset(guild, version.name, 1)}/{ORIGINAL}")


async def download_on_a_phone(site: Site, folder: Path) -> None:
    async with open_page(site.server.page_url) as page:
        await page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
        phone = Newcomer(page, folder)
        await phone.command("download", _RUN)
        pair = phone.log.get_by_role("link", name=re.compile(r"zip", re.IGNORECASE)).last
        await expect(pair).to_be_visible()
        await expect(phone.log.get_by_role("combobox")).to_be_visible()  # the menu of epochs
        await look(page, "download", folder)
        file = await phone.download(pair)
    with zipfile.ZipFile(file) as bundle:
        assert bundle.testzip() is None
        experts = [name for name in bundle.namelist() if name.endswith(".safetensors")]
    assert len(experts) == 2
