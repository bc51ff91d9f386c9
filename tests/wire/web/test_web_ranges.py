"""Ranges of a download: when it continues, when it starts again, and what is refused."""

import io
import zipfile

import httpx
import pytest

from bot.service.threads import in_thread
from tests.unit.bot.web_side import BYTES, HIGH, LOW, RUN, Web

SIZE = len(BYTES)


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=10-19", 10, 20),
        (f"bytes={SIZE - 5}-", SIZE - 5, SIZE),
        ("bytes=-7", SIZE - 7, SIZE),
        (f"bytes=-{SIZE + 10}", 0, SIZE),
        (f"bytes=5-{SIZE + 100}", 5, SIZE),
    ],
)
async def test_one_range_gives_these_bytes(web: Web, asked: str, start: int, stop: int) -> None:
    answer = await web.client.get(web.link(HIGH), headers={"Range": asked})

    assert answer.status_code == 206
    assert answer.content == BYTES[start:stop]
    assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/{SIZE}"
    assert answer.headers["content-length"] == str(stop - start)


@pytest.mark.parametrize(
    "asked",
    ["bytes=0-1,5-6", "bytes=9-3", "bytes=-", "bytes=a-b", "items=0-1", "bytes"],
)
async def test_anything_but_a_single_range_gives_the_whole_file(web: Web, asked: str) -> None:
    answer = await web.client.get(web.link(HIGH), headers={"Range": asked})

    assert answer.status_code == 200
    assert answer.content == BYTES


@pytest.mark.parametrize("asked", [f"bytes={SIZE}-", f"bytes={SIZE + 5}-{SIZE + 9}", "bytes=-0"])
async def test_range_beyond_the_end_says_where_that_is(web: Web, asked: str) -> None:
    answer = await web.client.get(web.link(HIGH), headers={"Range": asked})

    assert answer.status_code == 416
    assert answer.headers["content-range"] == f"bytes */{SIZE}"
    assert answer.content == b""


@pytest.mark.parametrize("version", ['"another"', 'W/"weak"', "Wed, 21 Oct 2015 07:28:00 GMT"])
async def test_a_range_for_another_version_gives_the_whole_file(web: Web, version: str) -> None:
    headers = {"Range": "bytes=10-", "If-Range": version}

    answer = await web.client.get(web.link(HIGH), headers=headers)

    assert answer.status_code == 200
    assert answer.content == BYTES


async def test_a_known_version_is_not_sent_again(web: Web) -> None:
    link = web.link(HIGH)
    etag = (await web.client.head(link)).headers["etag"]

    answer = await web.client.get(link, headers={"If-None-Match": f'"x", {etag}'})

    assert answer.status_code == 304
    assert answer.content == b""


async def test_zip_is_resumed_in_the_middle_of_any_of_its_files(web: Web) -> None:
    link = web.archive()
    head = await web.client.head(link)
    size, etag = int(head.headers["content-length"]), head.headers["etag"]
    parts: list[bytes] = []

    for start in range(0, size, size // 7):
        wanted = {"Range": f"bytes={start}-{start + size // 7 - 1}", "If-Range": etag}
        answer = await web.client.get(link, headers=wanted)
        assert answer.status_code == 206
        parts.append(answer.content)

    assert head.headers["accept-ranges"] == "bytes"
    with zipfile.ZipFile(io.BytesIO(b"".join(parts))) as archive:
        assert archive.testzip() is None
        assert archive.read("epoch-000050/annika-low.safetensors") == BYTES[::-1]


async def test_zip_of_a_run_that_saved_more_has_another_etag(web: Web) -> None:
    link = web.archive(50)
    before = (await web.client.head(link)).headers["etag"]
    await web.put(LOW, b"published anew")
    await web.record((LOW, 50))

    await web.settle()
    answer = await web.client.get(link, headers={"Range": "bytes=5-", "If-Range": before})

    assert answer.status_code == 200
    assert answer.headers["etag"] != before
    assert b"published anew" in answer.content


async def test_revoked_links_end_and_new_ones_work(web: Web) -> None:
    file, archive = web.link(HIGH), web.archive()
    assert (await web.client.head(file)).status_code == 200

    await in_thread(web.downloads.revoke, web.guild, RUN)
    await web.settle()

    for link in (file, archive):
        answer = await web.client.get(link)
        assert answer.status_code == 410
        assert "revoked" in answer.text
    revoked = await in_thread(web.downloads.revocations.count, web.guild, RUN)
    renewed = web.link(HIGH, revoked)
    assert (await web.client.get(renewed)).content == BYTES


async def test_a_download_that_cannot_continue_is_cut_off(web: Web) -> None:
    link = web.archive()
    assert (await web.client.head(link)).status_code == 200
    await web.put(LOW, BYTES)  # of the recorded size, but with another content

    with pytest.raises(httpx.RemoteProtocolError, match="without sending complete message body"):
        await web.client.get(link)
    assert (await web.client.get(f"{web.links.base_url}/health")).status_code == 200
