"""An upload with files that cannot be used: kept, and settled without them."""

from pathlib import Path

import pytest
from playwright.async_api import expect

from bot.hosting.bot import RunningBot
from bot.hosting.local import LocalInstallation
from tests.media import guide_files, png, write_zip
from tests.wire.bot.chat import Chat
from tests.wire.bot.stored import captions, press, versions
from tests.wire.bot.upload_page import drop, link
from tests.wire.browser import CHROMIUM, open_page

GOOD = guide_files(images=2, clips=1, frames=33)
CUT_PNG, EMPTY_CLIP = png()[:900], b""


@pytest.mark.parametrize("command", ["dataset add", "dataset check"])
async def test_good_samples_are_stored_without_the_files_that_cannot_be_used(
    command: str, ada: Chat, local: LocalInstallation, tmp_path: Path
) -> None:
    bad = {"images/x.png": CUT_PNG, "images/x.txt": "ann1ka", "videos/y.mp4": EMPTY_CLIP,
           "images/z.heic": b"a photo", "images/z.txt": "ann1ka"}  # fmt: skip

    kept = await ada.ask(command, name="annika", zip=write_zip(tmp_path / "a.zip", GOOD | bad))
    assert versions(local) == []
    stored = await press(ada, kept, "Leave bad files out")
    checked = await ada.ask("dataset check", name="annika")

    assert "annika: 3 files cannot be used" in kept.text
    assert "3 of 6 files cannot be used. Nothing is lost" in kept.text
    assert "images/x.png cannot be decoded" in kept.text
    assert "store the 3 other samples" in kept.text
    assert list(kept.buttons) == ["Leave bad files out"]
    assert "uploaded, 3 files left out" in stored.text
    assert len(captions(local, "annika@1")) == 3
    assert "Checked **annika@1** again" in checked.text
    assert "cannot be decoded" not in checked.text


async def test_captions_are_asked_for_once_the_bad_files_are_left_out(
    ada: Chat, local: LocalInstallation, tmp_path: Path
) -> None:
    bad: dict[str, bytes | str] = {"x.png": CUT_PNG, "images/bare.png": png(seed=9)}
    archive = write_zip(tmp_path / "a.zip", GOOD | bad)

    kept = await ada.ask("dataset add", name="annika", zip=archive)
    waiting = await press(ada, kept, "Leave bad files out")
    stored = await press(ada, waiting, "Leave these out")

    assert "annika: 1 file cannot be used" in kept.text
    assert "go on with the 4 other samples; 1 has no usable caption" in kept.text
    assert "annika: 1 caption to write" in waiting.text
    assert list(waiting.buttons) == ["Captions", "Leave these out", "Trigger word only"]
    assert "uploaded, 1 file left out, 1 sample left out" in stored.text
    assert len(captions(local, "annika@1")) == 3


async def test_another_layout_and_bad_files_are_settled_in_any_order(
    ada: Chat, local: LocalInstallation, tmp_path: Path
) -> None:
    rows = "\n".join(f'{{"file_name": "{n}.png", "text": "ann1ka {n}"}}' for n in range(4))
    pictures: dict[str, bytes | str] = {f"{n}.png": png(seed=n) for n in range(3)}
    archive = write_zip(tmp_path / "a.zip", {**pictures, "3.png": CUT_PNG, "metadata.jsonl": rows})
    first, second = "Leave bad files out", "Use this layout"

    for name, order in (("annika", (first, second)), ("berta", (second, first))):
        answer = await ada.ask("dataset add", name=name, zip=archive)
        assert {*answer.buttons} == {first, second}
        for label in order:
            answer = await press(ada, answer, label)
        if "Use as repaired" in answer.buttons:
            answer = await press(ada, answer, "Use as repaired")
        assert f"{name}@1" in answer.text

    assert captions(local, "annika@1") == {f"images/{n}.png": f"ann1ka {n}" for n in range(3)}
    assert captions(local, "berta@1") == captions(local, "annika@1")


@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here")
@pytest.mark.parametrize("is_mended", [True, False])
async def test_the_page_takes_another_file_for_a_bad_one_or_leaves_it_out(
    ada: Chat, bot: RunningBot, local: LocalInstallation, tmp_path: Path, *, is_mended: bool
) -> None:
    files = {"0.png": png(), "0.txt": b"ann1ka", "1.png": CUT_PNG, "1.txt": b"ann1ka, again"}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    mended = tmp_path / "mended" / "1.png"
    mended.parent.mkdir()
    mended.write_bytes(png(seed=1))

    async with open_page(await link(ada)) as page:
        await drop(page, *(tmp_path / name for name in files))
        result = page.get_by_role("article")
        await expect(result).to_contain_text("annika: 1 file cannot be used", timeout=60_000)
        if is_mended:
            await page.get_by_role("button", name="Remove 1.png").click()
            await drop(page, mended)
        else:
            await result.get_by_role("button", name="Leave bad files out").click()
        await expect(result.last).to_contain_text("annika@1", timeout=60_000)
        await expect(page.get_by_text("This link has been used")).to_be_visible()
        await expect(page.get_by_text("Drop a zip, a folder or files here")).to_be_hidden()

    assert len(captions(local, "annika@1")) == (2 if is_mended else 1)
