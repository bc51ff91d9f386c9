"""The web side over loopback, with a real store: parts, ends and refusals."""

import pytest

from bot.web.app import create_app
from bot.web.server import WebServer
from tests.unit.bot.web.web_side import BYTES, GUILD, HIGH, OTHER_GUILD, RUN, Web
from training.errors import RequestError


async def test_download_gives_the_file_as_an_attachment(web: Web) -> None:
    answer = await web.client.get(web.links.link(GUILD, RUN, HIGH))

    assert answer.status_code == 200
    assert answer.content == BYTES
    assert answer.headers["content-length"] == str(len(BYTES))
    assert answer.headers["content-disposition"] == 'attachment; filename="annika-high.safetensors"'
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "no-store" in answer.headers["cache-control"]
    assert "etag" in answer.headers


async def test_head_tells_size_without_the_bytes(web: Web) -> None:
    answer = await web.client.head(web.links.link(GUILD, RUN, HIGH))

    assert answer.status_code == 200
    assert answer.headers["content-length"] == str(len(BYTES))
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.content == b""


async def test_interrupted_download_goes_on_where_it_stopped(web: Web) -> None:
    link = web.links.link(GUILD, RUN, HIGH)
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
    answer = await web.client.get(
        web.links.link(GUILD, RUN, HIGH), headers={"Range": f"bytes={len(BYTES)}-"}
    )

    assert answer.status_code == 416


async def test_expired_link_says_what_to_do(web: Web) -> None:
    link = web.links.link(GUILD, RUN, HIGH)
    archive = web.links.archive_link(GUILD, RUN)

    web.now += 25 * 60 * 60

    for url in (link, archive):
        answer = await web.client.get(url)
        assert answer.status_code == 410
        assert "expired" in answer.text
        assert "/download" in answer.text


async def test_forged_link_is_forbidden(web: Web) -> None:
    link = web.links.link(GUILD, RUN, HIGH)

    for url in (f"{link[:-20]}x{link[-20:]}", link.replace("/d/", "/z/"), f"{link}.zip"):
        answer = await web.client.get(url)
        assert answer.status_code == 403
        assert "Copy it again" in answer.text


async def test_link_of_one_guild_does_not_open_the_same_run_of_another(web: Web) -> None:
    web.put(HIGH, b"the other guild's", guild=OTHER_GUILD)
    link = web.links.link(GUILD, RUN, HIGH)

    answer = await web.client.get(link.replace(f"/d/{GUILD}.", f"/d/{OTHER_GUILD}."))

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
async def test_path_cannot_climb_out(web: Web, name: str) -> None:
    web.put("spec.json", b"secret")
    folder = web.links.link(GUILD, RUN, HIGH).rpartition("/")[0]

    answer = await web.client.get(f"{folder}/{name}")

    assert answer.status_code in (403, 404)
    assert b"secret" not in answer.content


async def test_removed_checkpoint_is_said_to_be_gone(web: Web) -> None:
    link = web.links.link(GUILD, RUN, HIGH)
    web.store.delete(f"guilds/{GUILD}/runs/{RUN}/{HIGH}")

    answer = await web.client.get(link)

    assert answer.status_code == 404
    assert "no longer stored" in answer.text


async def test_symbolic_link_among_the_checkpoints_is_not_followed(web: Web) -> None:
    web.put("spec.json", b"secret")
    name = "checkpoints/high/annika-high-000005.safetensors"
    folder = web.store.path(f"guilds/{GUILD}/runs/{RUN}")
    (folder / name).symlink_to(folder / "spec.json")

    answer = await web.client.get(web.links.link(GUILD, RUN, name))

    assert answer.status_code == 404


async def test_server_goes_on_when_a_reader_leaves_in_the_middle_of_a_zip(web: Web) -> None:
    web.put(HIGH, bytes(32 << 20))
    link = web.links.archive_link(GUILD, RUN)
    async with web.client.stream("GET", link) as left:
        await anext(left.aiter_raw(1000))

    answer = await web.client.get(link)

    assert answer.status_code == 200
    assert len(answer.content) > 32 << 20


async def test_health_answers(web: Web) -> None:
    answer = await web.client.get(f"{web.links.base_url}/health")

    assert answer.json() == {"status": "ok"}


@pytest.mark.parametrize("path", ["", "/", "/d/", "/d", "/z/", "/guilds", "/d/x", "/d/a/b/c"])
async def test_nothing_is_listed(web: Web, path: str) -> None:
    answer = await web.client.get(f"{web.links.base_url}{path}")

    assert answer.status_code == 404
    assert "There is nothing at this address" in answer.text


async def test_server_does_not_say_what_it_runs_on(web: Web) -> None:
    for url in (f"{web.links.base_url}/health", web.links.link(GUILD, RUN, HIGH)):
        answer = await web.client.get(url)
        assert "server" not in answer.headers


async def test_other_methods_are_refused(web: Web) -> None:
    answer = await web.client.post(web.links.link(GUILD, RUN, HIGH), content=b"x")

    assert answer.status_code == 405
    assert web.store.read(f"guilds/{GUILD}/runs/{RUN}/{HIGH}") == BYTES


async def test_port_that_is_taken_is_said_with_what_to_set(web: Web) -> None:
    port = int(web.links.base_url.rpartition(":")[2])
    second = WebServer(create_app(web.store, web.links))

    with pytest.raises(RequestError, match=f"port {port}.*LORABOT_WEB_PORT"):
        await second.start("127.0.0.1", port)
