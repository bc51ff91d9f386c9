"""Starting, stopping, keeping the world, and who may talk to the sandbox."""

from pathlib import Path

import httpx
import pytest
from discord.http import Route
from sandbox_bot import TinyBot, running_bot
from sandbox_raw import RawBot, Watch

from bot.sandbox.client import SandboxUser
from bot.sandbox.connect import point_discord_at
from bot.sandbox.server import SandboxError, SandboxServer
from training.errors import RequestError


async def test_a_restarted_sandbox_shows_the_same_channel(tmp_path: Path) -> None:
    file = tmp_path / "clip.txt"
    file.write_bytes(b"abc")
    first = SandboxServer(tmp_path / "home")
    await first.start()
    async with SandboxUser(first.page_url) as ada:
        before = await ada.post("hello", [file])
        async with running_bot(first):
            await ada.reply(await ada.command("thread"))
            await ada.wait_for(lambda message: message.edited is not None)
    await first.stop()

    second = SandboxServer(tmp_path / "home", page_secret=first.secret)
    await second.start(first.port)
    async with SandboxUser(first.page_url) as ada:
        messages = await ada.messages()

        assert second.page_url == first.page_url
        assert second.bot_token == first.bot_token
        assert [message.content for message in messages] == ["hello", "card, step 2"]
        assert messages[0].id == before.id
        assert await ada.download(messages[0].attachments[0]) == b"abc"
        assert len(await ada.messages(thread="run1 · steps")) == 1
        async with running_bot(second):
            assert (await ada.reply(await ada.command("ping"))).content == "pong Ada"
    await second.stop()


async def test_a_taken_port_is_said_in_plain_words(server: SandboxServer, tmp_path: Path) -> None:
    other = SandboxServer(tmp_path / "other")

    with pytest.raises(SandboxError, match="already in use"):
        await other.start(server.port)
    await other.stop()


async def test_discord_is_pointed_back_afterwards(server: SandboxServer) -> None:
    before = Route.BASE

    with point_discord_at(server.base_url):
        assert server.api_base == Route.BASE

    assert before == Route.BASE


async def test_a_person_needs_the_secret(server: SandboxServer) -> None:
    async with SandboxUser(server.page_url + "x") as stranger:
        with pytest.raises(RequestError, match="secret"):
            await stranger.messages()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "evil.example"}, 421),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": ""}, 401),
    ],
)
async def test_only_the_own_page_on_this_machine_is_served(
    server: SandboxServer, headers: dict[str, str], status: int
) -> None:
    secret = {"Authorization": f"Bearer {server.secret}"}
    async with httpx.AsyncClient(base_url=server.base_url) as http:
        response = await http.get("/sandbox/api/world", headers=secret | headers)

    assert response.status_code == status


async def test_the_page_may_load_nothing_from_outside(server: SandboxServer) -> None:
    async with httpx.AsyncClient(base_url=server.base_url) as http:
        page = await http.get("/sandbox/")
        outside = await http.get("/sandbox/..%2Fserver.py")

    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert "script-src 'self'" in page.headers["Content-Security-Policy"]
    assert "discord" not in page.text.lower()
    assert outside.status_code == 404


async def test_an_uploaded_page_cannot_run_as_the_sandbox(
    server: SandboxServer, ada: SandboxUser, tmp_path: Path
) -> None:
    file = tmp_path / "evil.html"
    file.write_text("<script src='/attachments/other.js'></script>")
    message = await ada.post("look", [file])

    async with httpx.AsyncClient() as http:
        response = await http.get(message.attachments[0].url)

    assert response.headers["Content-Security-Policy"].startswith("sandbox;")


async def test_an_answer_token_ends_after_fifteen_minutes(
    bot: TinyBot, ada: SandboxUser, raw: RawBot, watch: Watch
) -> None:
    reply = await ada.reply(await ada.command("ping"))
    assert reply.interaction_id is not None
    token = raw.server.interactions.get(reply.interaction_id).token
    path = f"/webhooks/{raw.server.world.application_id}/{token}/messages/@original"
    assert (await raw.call("PATCH", path, {"content": "new"}))[0] == 200

    watch.ahead += 15 * 60 + 1
    status, answer = await raw.call("PATCH", path, {"content": "late"})

    assert (status, answer["code"]) == (401, 50027)


async def test_guilds_keep_apart(bot: TinyBot, server: SandboxServer, ada: SandboxUser) -> None:
    await ada.reply(await ada.command("ping"))

    async with SandboxUser(server.page_url, guild="Studio B") as remote_advance:
        assert await remote_advance.messages() == []
        reply = await remote_advance.reply(await remote_advance.command("ping"))

    assert reply.channel_id != (await ada.messages())[0].channel_id


async def test_one_folder_serves_one_sandbox(server: SandboxServer, tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match="Cannot use the folder"):
        SandboxServer(tmp_path / "home")
