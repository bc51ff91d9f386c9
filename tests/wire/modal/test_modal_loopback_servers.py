"""Server classes: readiness, the public address, hand-over, replacement."""

from pathlib import Path

import httpx
import pytest

from tests.wire.modal.loopback.api import Loopback

APP = """
import asyncio
import os
import modal
from aiohttp import web

app = modal.App("web", image=modal.Image.debian_slim(python_version="3.11"))
VERSION = "one"

@app.server(port=8000, min_containers=1, unauthenticated=True, exit_grace_period=5,
            startup_timeout=20, routing_region="us-east")
class Bot:
    @modal.enter()
    async def start(self):
        site = web.Application()
        site.router.add_get("/", self.answer)
        self.runner = web.AppRunner(site)
        await self.runner.setup()
        port = int(os.environ.get("LORABOT_SERVER_PORT", "8000"))
        await web.TCPSite(self.runner, "127.0.0.1", port).start()

    async def answer(self, request):
        return web.Response(text=VERSION + " " + request.headers.get("Range", ""))

    @modal.exit()
    async def stop(self):
        await self.runner.cleanup()
        print("left in order")
"""


@pytest.fixture
def app(loopback: Loopback, tmp_path: Path) -> Path:
    path = tmp_path / "web_app.py"
    path.write_text(APP)
    loopback.deploy(path)
    loopback.wait_for(lambda: any(its.is_serving for its in loopback.plane.scheduler.living_all()))
    return path


def test_a_server_answers_under_its_public_address(loopback: Loopback, app: Path) -> None:
    answer = httpx.get(loopback.public_url("Bot"), headers={"Range": "bytes=1-2"})

    assert answer.text == "one bytes=1-2"


def test_a_redeploy_hands_over_without_a_gap(loopback: Loopback, app: Path) -> None:
    (old,) = loopback.containers("Bot")
    app.write_text(APP.replace('"one"', '"two"'))

    loopback.deploy(app)
    answers = [httpx.get(loopback.public_url("Bot"))]
    while not answers[-1].text.startswith("two"):
        answers.append(httpx.get(loopback.public_url("Bot")))
    loopback.wait_for(lambda: old.state == "ended")

    assert {answer.status_code for answer in answers} == {200}
    assert "left in order" in old.text


def test_a_killed_server_is_replaced(loopback: Loopback, app: Path) -> None:
    (old,) = loopback.containers("Bot")

    loopback.kill(old)
    loopback.wait_for(
        lambda: any(
            its.is_serving and its is not old for its in loopback.plane.scheduler.living_all()
        )
    )

    assert httpx.get(loopback.public_url("Bot")).status_code == 200
