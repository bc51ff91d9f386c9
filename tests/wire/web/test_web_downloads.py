"""Downloads from both back-ends: attachments, resumed parts and refusals."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.damage import cut_off, flip_a_bit
from tests.unit.bot.web_side import BYTES, HIGH, OTHER_GUILD, Web


async def test_download_gives_the_file_as_an_attachment(web: Web) -> None:
    answer = await web.client.get(web.link(HIGH))

    assert answer.status_code == 200
    assert answer.content == BYTES
    assert answer.headers["content-length"] == str(len(BYTES))
    assert answer.headers["content-disposition"] == 'attachment; filename="annika-high.safetensors"'
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "no-store" in answer.headers["cache-control"]
    assert "etag" in answer.headers


async def test_head_tells_size_without_the_bytes(web: Web) -> None:
    answer = await web.client.head(web.link(HIGH))

    assert answer.status_code == 200
    assert answer.headers["content-length"] == str(len(BYTES))
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.content == b""


async def test_an_interrupted_download_continues_where_it_stopped(web: Web) -> None:
    link = web.link(HIGH)
    async with web.client.stream("GET", link) as begun:
        etag = begun.headers["etag"]
        received = await anext(begun.aiter_raw(1000))

    rest = await web.client.get(
        link, headers={"Range": f"bytes={len(received)}-", "If-Range": etag}
    )

    assert rest.status_code == 206
    assert rest.headers["content-range"] == f"bytes {len(received)}-{len(BYTES) - 1}/{len(BYTES)}"
    assert received + rest.content == BYTES


async def test_part_beyond_the_end_is_refused(web: Web) -> None:
    answer = await web.client.get(web.link(HIGH), headers={"Range": f"bytes={len(BYTES)}-"})

    assert answer.status_code == 416


async def test_expired_link_says_what_to_do(web: Web) -> None:
    now = web.now
    web.now = now - 25 * 60 * 60
    link, archive = web.link(), web.archive()

    web.now = now

    for url in (link, archive):
        answer = await web.client.get(url)
        assert answer.status_code == 410
        assert "expired" in answer.text
        assert "/download" in answer.text


async def test_forged_link_is_forbidden(web: Web) -> None:
    link = web.link(HIGH)

    for url in (f"{link[:-20]}x{link[-20:]}", link.replace("/d/", "/z/"), f"{link}.zip"):
        answer = await web.client.get(url)
        assert answer.status_code == 403
        assert "Copy the whole link again" in answer.text


async def test_link_of_one_guild_does_not_open_the_same_run_of_another(web: Web) -> None:
    await web.put(HIGH, b"the other guild's", guild=OTHER_GUILD)
    link = web.link(HIGH)

    answer = await web.client.get(link.replace(f"/d/{web.guild}.", f"/d/{OTHER_GUILD}."))

    assert answer.status_code == 403


@pytest.mark.parametrize(
    "name",
    [
        "..%2f..%2fspec.json",
        "%2e%2e%2f%2e%2e%2fspec.json",
        "..%5cspec.json",
        "annika-state%2fmodel.safetensors",
        "%00.safetensors",
    ],
)
async def test_a_path_cannot_leave_the_folder(web: Web, name: str) -> None:
    await web.put("spec.json", b"secret")
    folder = web.link(HIGH).rpartition("/")[0]

    answer = await web.client.get(f"{folder}/{name}")

    assert answer.status_code in (403, 404)
    assert b"secret" not in answer.content


async def test_a_removed_checkpoint_is_reported_as_gone(web: Web) -> None:
    link = web.link(HIGH)
    await web.delete(HIGH)

    answer = await web.client.get(link)

    assert answer.status_code == 404
    assert "no longer stored" in answer.text


@pytest.mark.parametrize("damage", [cut_off, flip_a_bit])
async def test_a_damaged_checkpoint_is_refused_whatever_its_size(
    web: Web, damage: Callable[[Path], None]
) -> None:
    link = web.link(HIGH)
    await web.damage(HIGH, damage)

    answer = await web.client.get(link)

    assert answer.status_code == 404
    assert "annika-high.safetensors is damaged" in answer.text


async def test_the_server_survives_a_reader_that_leaves_in_the_middle_of_a_zip(web: Web) -> None:
    await web.put(HIGH, bytes(32 << 20))
    await web.record((HIGH, 50))
    link = web.archive()
    async with web.client.stream("GET", link) as left:
        await anext(left.aiter_raw(1000))

    answer = await web.client.get(link)

    assert answer.status_code == 200
    assert len(answer.content) > 32 << 20


async def test_health_answers(web: Web) -> None:
    answer = await web.client.get(f"{web.links.base_url}/health")

    assert answer.json() == {"status": "ok"}


@pytest.mark.parametrize("path", ["", "/", "/d/", "/d", "/z/", "/guilds", "/d/x", "/d/a/b/c"])
async def test_folders_are_not_listed(web: Web, path: str) -> None:
    answer = await web.client.get(f"{web.links.base_url}{path}")

    assert answer.status_code == 404
    assert "There is nothing at this URL" in answer.text


async def test_other_methods_are_refused(web: Web) -> None:
    answer = await web.client.post(web.link(HIGH), content=b"x")

    assert answer.status_code == 405
    assert (await web.client.get(web.link())).content == BYTES
