"""Downloads that are cut are finished by curl, wget, aria2 and a browser; nothing is sent twice."""

import asyncio
import shutil
from contextlib import suppress
from pathlib import Path

import pytest
from playwright.async_api import Error as PlaywrightError

from tests.cutting_proxy import CuttingProxy
from tests.unit.bot.web_side import BYTES, HIGH, LOW, Web
from tests.wire.browser import CHROMIUM, open_page

_CONTENT = bytes(range(256)) * 24_576  # 6 MiB
_TOOLS = {
    "curl": ("curl", "--silent", "--fail", "--continue-at", "-", "--output", "{file}", "{link}"),
    "wget": ("wget", "--quiet", "--continue", "--tries=1", "--output-document={file}", "{link}"),
    "aria2": (
        *("aria2c", "--quiet", "--continue", "--max-tries=1", "--file-allocation=none"),
        *("--max-connection-per-server=8", "--split=8", "--min-split-size=1M"),
        *("--dir={folder}", "--out={name}", "{link}"),
    ),
}
_MOST_HEADER_BYTES = 64_000  # of all answers together


async def browse(link: str, file: Path) -> str:
    """Open a link in a browser, and save what it downloads; return the name that it gives it.

    The browser is not asked to go on after a cut: it does so by itself.
    """
    async with open_page("about:blank") as page:
        async with page.expect_download() as begun:
            with suppress(PlaywrightError):  # a download is no page
                await page.goto(link)
        await (await begun.value).save_as(file)
        return (await begun.value).suggested_filename


async def run(tool: str, link: str, file: Path) -> int:
    places = {"link": link, "file": file, "folder": file.parent, "name": file.name}
    command = [part.format(**places) for part in _TOOLS[tool]]
    process = await asyncio.create_subprocess_exec(*command)
    return await process.wait()


@pytest.mark.parametrize("kind", ["file", "zip"])
@pytest.mark.parametrize("tool", _TOOLS)
async def test_a_cut_download_is_resumed(web: Web, tmp_path: Path, tool: str, kind: str) -> None:
    if shutil.which(_TOOLS[tool][0]) is None:
        pytest.skip(f"{_TOOLS[tool][0]} is not installed")
    await web.put(HIGH, _CONTENT)
    await web.record((HIGH, 50), (LOW, 50))
    await web.settle()
    direct = web.links.base_url
    proxy = CuttingProxy(web.links.base_url, cuts=[900_000, 1_500_000, 700_000])
    with proxy:
        web.links.base_url = proxy.url
        link = web.link(HIGH)
        link = web.archive() if kind == "zip" else link

        ends = [await run(tool, link, tmp_path / "got")]
        while ends[-1] != 0 and len(ends) < 6:
            ends.append(await run(tool, link, tmp_path / "got"))
    whole = (await web.client.get(link.replace(proxy.url, direct))).content

    assert ends[-1] == 0
    assert not proxy.cuts
    assert (tmp_path / "got").read_bytes() == whole
    assert proxy.sent_bytes < len(whole) + _MOST_HEADER_BYTES
    if tool == "aria2":
        assert proxy.connections > len(ends)  # several parts at once


@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here")
@pytest.mark.parametrize("kind", ["file", "zip"])
async def test_a_browser_resumes_a_cut_download(web: Web, tmp_path: Path, kind: str) -> None:
    await web.put(HIGH, _CONTENT)
    await web.record((HIGH, 50), (LOW, 50))
    await web.settle()
    direct = web.link() if kind == "file" else web.archive()
    with CuttingProxy(web.links.base_url, cuts=[2_000_000, 1_500_000]) as proxy:
        name = await browse(direct.replace(web.links.base_url, proxy.url), tmp_path / "got")

        assert not proxy.cuts
        assert proxy.sent_bytes < len(_CONTENT) + len(BYTES) + _MOST_HEADER_BYTES
    assert name == direct.rpartition("/")[2]
    got = await asyncio.to_thread((tmp_path / "got").read_bytes)
    assert got == (await web.client.get(direct)).content
