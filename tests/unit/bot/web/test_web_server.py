"""The web server on this machine: its port, its files, and a restart."""

from contextlib import suppress

import httpx
import pytest

from bot.service.downloads.downloads import Downloads
from bot.web.app import create_app
from bot.web.server import Bounds, WebServer
from tests.unit.bot.web_side import HIGH, LOW, RUN, Web
from training.errors import RequestError
from training.store_keys import RunKeys

_CONTENT = bytes(range(256)) * 24_576  # 6 MiB


async def test_symbolic_link_among_the_checkpoints_is_not_followed(web: Web) -> None:
    await web.put("secret.json", b"secret")
    name = "checkpoints/high/annika-high-000005.safetensors"
    folder = web.store.path(RunKeys(web.guild, RUN).folder)
    (folder / name).symlink_to(folder / "secret.json")
    web.stored[name] = web.stored["secret.json"]
    await web.record((name, 5))

    answer = await web.client.get(web.link(name))

    assert answer.status_code == 404


async def test_responses_do_not_name_the_server_software(web: Web) -> None:
    for url in (f"{web.links.base_url}/health", web.link(HIGH)):
        answer = await web.client.get(url)
        assert "server" not in answer.headers


async def test_a_taken_port_is_reported_with_the_setting_to_change(web: Web) -> None:
    port = int(web.links.base_url.rpartition(":")[2])
    second = WebServer(create_app(Downloads(web.store, web.links)))

    with pytest.raises(RequestError, match=f"port {port}.*LORABOT_WEB_PORT"):
        await second.start("127.0.0.1", port)


async def test_a_download_goes_on_after_the_bot_has_restarted(web: Web) -> None:
    await web.put(HIGH, _CONTENT * 6)
    await web.record((HIGH, 50), (LOW, 50))
    first = WebServer(create_app(web.downloads), Bounds(shutdown_seconds=0.05))
    web.links.base_url = await first.start("127.0.0.1", 0)
    link = web.archive()
    begun, port = b"", first.port
    async with web.client.stream("GET", link) as answer:
        etag, size = answer.headers["etag"], int(answer.headers["content-length"])
        blocks = answer.aiter_raw()
        begun += await anext(blocks)
        await first.stop()
        with suppress(httpx.RemoteProtocolError, httpx.ReadError):
            async for block in blocks:
                begun += block

    second = WebServer(create_app(Downloads(web.store, web.links)))
    await second.start("127.0.0.1", port)
    wanted = {"Range": f"bytes={len(begun)}-", "If-Range": etag}
    rest = await web.client.get(link, headers=wanted)
    whole = await web.client.get(link)
    await second.stop()

    assert 0 < len(begun) < size
    assert rest.status_code == 206
    assert begun + rest.content == whole.content
