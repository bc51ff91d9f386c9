"""Links to caption pages: who may use them, until when, and what a request may say."""

import io
import time
from collections.abc import AsyncGenerator
from dataclasses import replace
from functools import partial
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from PIL import Image

from bot.service.dataset_answers import captions_answer
from bot.service.datasets import CheckedDataset
from bot.service.links import LinkSigner
from tests.media import png, write_zip
from tests.unit.bot.web.upload_side import local_uploads
from tests.wire.web.caption_side import BARE, CAPTIONED, Browser, CaptionSide, token_in
from training.errors import RequestError
from training.operations.trash.dataset_removal import DatasetRemovals
from training.registry.dataset_draft import Upload


@pytest_asyncio.fixture
async def side(tmp_path: Path) -> AsyncGenerator[CaptionSide]:
    async with local_uploads(tmp_path / "home") as found:
        yield CaptionSide(found, tmp_path)


@pytest_asyncio.fixture
async def ada(side: CaptionSide) -> Browser:
    """A browser that has opened a link to the caption page."""
    await side.add(CAPTIONED)
    browser = Browser(side.side.client, token_in(await side.link()))
    (await browser.bind()).raise_for_status()
    return browser


def change(name: str, before: str, text: str) -> dict[str, object]:
    return {"changes": [{"name": name, "before": before, "text": text}]}


async def test_the_page_gets_samples_judged_and_a_save_becomes_a_version(
    ada: Browser, side: CaptionSide
) -> None:
    state = (await ada.get()).json()
    b = next(one for one in state["samples"] if one["name"] == "images/b.png")
    judged = await ada.post("/judge", {"texts": ["🙂 ann1ka by the sea", ""]})
    saved = await ada.post("/save", change(b["name"], b["caption"], "ann1ka by the sea"))

    assert state["reference"] == "annika@1"
    assert b["judged"]["prefixed"] == "ann1ka, a portrait in soft light"
    assert judged.json()[0]["trigger"] == [[3, 9]]  # as JavaScript counts
    assert judged.json()[1]["remarks"][0]["text"].startswith("Has no caption.")
    assert saved.json() == {"number": 2, "isNew": True, "refused": []}
    assert side.captions()["images/b.png"] == "ann1ka by the sea"


async def test_a_caption_that_was_changed_meanwhile_is_handed_back(
    ada: Browser, side: CaptionSide
) -> None:
    await ada.post("/save", change("images/a.png", "ann1ka at a window", "by Ada"))

    late = await ada.post("/save", change("images/a.png", "ann1ka at a window", "too late"))

    assert late.json() == {"number": 2, "isNew": False, "refused": ["images/a.png"]}
    assert side.captions()["images/a.png"] == "by Ada"


async def test_media_is_sent_as_repaired_and_in_ranges(ada: Browser) -> None:
    clip = (await ada.get()).json()["samples"][-1]
    whole = await ada.client.get(clip["media"])
    part = await ada.client.get(clip["media"], headers={"Range": "bytes=4-11"})
    thumbnail = await ada.client.get(clip["thumbnail"])
    picture = Image.open(io.BytesIO(thumbnail.content))

    assert whole.headers["content-type"] == "video/mp4"
    assert (part.status_code, part.content) == (206, whole.content[4:12])
    assert "private" in part.headers["cache-control"]
    assert (picture.format, picture.size) == ("JPEG", (300, 180))


async def test_only_the_first_browser_can_use_a_link(ada: Browser) -> None:
    await ada.get()
    media = (await ada.get()).json()["samples"][0]["media"]
    async with httpx.AsyncClient(base_url=ada.client.base_url, trust_env=False) as client:
        other = Browser(client, ada.token)

        bound, state = await other.bind(), await other.get()
        save = await other.post("/save", change("images/a.png", "ann1ka at a window", "mine"))
        file = await client.get(media)

    assert [one.status_code for one in (bound, state, save, file)] == [403] * 4
    assert "another browser" in bound.json()["cause"]


@pytest.mark.parametrize("kind", ["changed", "of another session", "of an upload", "empty"])
async def test_a_forged_token_is_refused(ada: Browser, side: CaptionSide, kind: str) -> None:
    guild, session, *stamp = ada.token.split(".")
    signer = side.side.signer
    forged = {
        "changed": f"{guild}.{session}.{'.'.join(stamp)}x",
        "of another session": f"{guild}.{'0' * 16}.{'.'.join(stamp)}",
        "of an upload": signer.page_token("upload", guild, session),
        "empty": "",
    }[kind]

    answer = await ada.client.get(ada.place, headers={"Page-Link": forged})

    assert answer.status_code == 403


async def test_a_link_expires(ada: Browser, side: CaptionSide) -> None:
    side.side.later_seconds = 25 * 3600

    answer = await ada.get()

    assert answer.status_code == 410
    assert "/dataset captions" in answer.json()["fix"]


async def test_the_links_of_a_removed_dataset_do_not_work(ada: Browser, side: CaptionSide) -> None:
    installation = side.side.installation
    removals: DatasetRemovals = installation.dataset_removals
    removals.remove_all(side.guild, "annika@1", by="7")

    answers = [await ada.get(), await ada.get("/version"), await ada.post("/leave-out", {})]

    assert [answer.status_code for answer in answers] == [404] * 3


async def test_only_who_may_change_the_dataset_gets_a_link(side: CaptionSide) -> None:
    await side.add(CAPTIONED)

    with pytest.raises(RequestError, match="belongs to somebody else"):
        await side.link(person=side.side.ben)
    manager = replace(side.side.ben, manages_server=True)
    assert await side.link(person=manager)


async def test_others_get_the_table_and_are_told_who_may_change_it(side: CaptionSide) -> None:
    await side.add(CAPTIONED)
    service = side.side.service
    make_link = partial(service.captions.link, channel=None)

    shown = await captions_answer(service.datasets, side.side.ben, "annika", make_link)

    assert shown.link is None
    assert [file.name for file in shown.files] == ["annika-1-captions.csv"]
    assert "belongs to somebody else" in (shown.card.description or "")


async def test_an_upload_that_is_to_be_merged_has_no_page(side: CaptionSide) -> None:
    await side.add(CAPTIONED)
    archive = write_zip(side.folder / "more.zip", {"images/e.png": png(seed=5)})
    upload = Upload(archive=archive, by="7", file_name="more.zip")
    service = side.side.service
    kept = await service.datasets.add(side.side.ada, "annika", upload, mode="add")
    assert isinstance(kept, CheckedDataset)

    link = await service.captions.link(side.side.ada, kept.token or "", channel=None)

    assert link is None


async def test_another_sites_page_cannot_save_or_look(ada: Browser, side: CaptionSide) -> None:
    media = (await ada.get()).json()["samples"][0]["media"]
    foreign = {**ada.headers, "Origin": "https://evil.example"}
    body = change("images/a.png", "ann1ka at a window", "theirs")

    saved = await ada.client.post(f"{ada.place}/save", headers=foreign, json=body)
    without_link = await ada.client.post(f"{ada.place}/save", json=body)
    looked = await ada.client.get(media, headers={"Origin": "https://evil.example"})
    page = await ada.client.get("/captions")

    assert [one.status_code for one in (saved, without_link, looked)] == [403] * 3
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert "<script>" not in page.text
    assert side.captions()["images/a.png"] == "ann1ka at a window"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"changes": []},
        {"changes": [{"name": "images/a.png"}]},
        {"changes": [{"name": "images/a.png", "before": "", "text": "x" * 20_001}]},
        {"changes": [{"name": "images/a.png", "before": "ann1ka at a window", "text": " "}]},
        [1],
    ],
)
async def test_a_malformed_body_is_refused(ada: Browser, side: CaptionSide, body: object) -> None:
    answer = await ada.post("/save", body)

    assert answer.status_code == 400
    assert side.side.installation.datasets.find(side.guild, "annika").number == 1


async def test_an_unknown_sample_has_no_file(ada: Browser, side: CaptionSide) -> None:
    place = f"{ada.place}/media/{side.guild}/0"

    for name in ("images/zzz.png", "..%2f..%2fmanifest.json"):
        assert (await ada.client.get(f"{place}/{name}")).status_code == 404


async def test_samples_without_a_caption_can_be_left_out(side: CaptionSide) -> None:
    await side.add(BARE)
    browser = Browser(side.side.client, token_in(await side.link()))
    await browser.bind()

    left = await browser.post("/leave-out", {})

    assert left.json() == {"number": 2}
    assert "images/c.png" not in side.captions()


def test_a_signature_holds_for_one_page_only() -> None:
    signer = LinkSigner(b"secret", "http://x", time.time)
    token = signer.page_token("captions", "1", "s")

    assert signer.read_page("captions", token) == ("1", "s")
    assert signer.browser_proof("1", "s") not in token
