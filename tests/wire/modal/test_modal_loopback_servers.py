"""Server classes: readiness, the public URL, hand-over, replacement."""

import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import modal
import pytest

from tests.wire.modal.loopback.api import PATIENCE_SECONDS, Loopback
from tests.wire.modal.loopback.container import Container

APP = """
import asyncio
import os
import time

import modal
from aiohttp import web

VERSION = "one"
HOST = "0.0.0.0"
app = modal.App("web", image=modal.Image.debian_slim(python_version="3.11"))
COMMON = dict(routing_region="us-east", startup_timeout=20, exit_grace_period=20)

class Site:
    async def serve(self):
        site = web.Application(client_max_size=10_000_000)
        site.router.add_get("/", self.answer)
        site.router.add_get("/file", self.file)
        site.router.add_get("/slow", self.slow)
        site.router.add_get("/deaf", self.deaf)
        site.router.add_post("/length", self.length)
        self.runner = web.AppRunner(site)
        await self.runner.setup()
        self.site = web.TCPSite(self.runner, HOST, int(os.environ["LORABOT_SERVER_PORT"]))
        await self.site.start()

    async def answer(self, request):
        return web.Response(text=VERSION)

    async def file(self, request):
        return web.FileResponse(__file__)

    async def slow(self, request):
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"begun ")
        while not os.path.exists(request.query["until"]):
            await asyncio.sleep(0.01)
        await response.write(b"ended")
        return response

    async def length(self, request):
        return web.Response(text=str(len(await request.read())))

    async def deaf(self, request):
        asyncio.get_running_loop().call_soon(asyncio.create_task, self.site.stop())
        return web.Response(text="bye")

@app.server(port=8000, min_containers=1, unauthenticated=True, **COMMON)
class Bot(Site):
    @modal.enter()
    async def start(self):
        await self.serve()
        self.ticks = 0
        self.ticking = asyncio.create_task(self.tick())

    async def tick(self):
        while True:
            await asyncio.sleep(0.01)
            self.ticks += 1

    @modal.exit()
    async def stop(self):
        await self.runner.cleanup()
        print("left in order after", self.ticks, "ticks")

@app.server(port=8000, **COMMON)
class Private(Site):
    @modal.enter()
    async def start(self):
        await self.serve()
"""


def serving(loopback: Loopback, server: str) -> list[Container]:
    return [
        its
        for its in loopback.plane.scheduler.living_all()
        if its.name == server and its.is_serving
    ]


@pytest.fixture(scope="module")
def path(shared: Loopback, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("app") / "web_app.py"
    path.write_text(APP)
    shared.settings.health_seconds = 0.1
    shared.deploy(path)
    return path


@pytest.fixture
def bot(shared: Loopback, path: Path) -> Iterator[Container]:
    """The one container of the server that serves."""
    shared.wait_for(lambda: len(serving(shared, "Bot")) == 1)
    yield serving(shared, "Bot")[0]
    shared.settings.server_grace_seconds = 30.0


def get(loopback: Loopback, path: str, server: str = "Bot", **headers: str) -> httpx.Response:
    return httpx.get(loopback.public_url(server) + path, headers=headers, timeout=PATIENCE_SECONDS)


def test_a_server_answers_under_its_public_address(shared: Loopback, bot: Container) -> None:
    url = modal.Server.from_name("web", "Bot").get_url()

    assert url == shared.public_url("Bot")
    assert get(shared, "/").text == "one"
    assert bot.port not in (8000, int(shared.public_url("Bot").rsplit(":", 1)[1]))


def test_ranges_bodies_and_streams_pass_the_public_address(
    shared: Loopback, bot: Container, path: Path
) -> None:
    part = get(shared, "/file", Range="bytes=10-19")
    posted = httpx.post(shared.public_url("Bot") + "/length", content=bytes(3_000_000))
    until = path.with_name("go-on")
    with httpx.stream("GET", shared.public_url("Bot") + f"/slow?until={until}") as answer:
        chunks = answer.iter_bytes()
        first = next(chunks)
        until.touch()
        rest = list(chunks)

    assert part.status_code == 206
    assert part.content == path.read_bytes()[10:20]
    assert posted.text == "3000000"
    assert (first, rest) == (b"begun ", [b"ended"])


def test_background_tasks_of_a_server_go_on_between_requests(
    shared: Loopback, bot: Container
) -> None:
    shared.preempt(bot)
    shared.wait_for(lambda: bot.state == "ended")

    ticks = int(bot.text.split("left in order after ")[1].split()[0])
    assert ticks > 1
    assert bot.exit_code == 0


def test_a_killed_server_is_replaced(shared: Loopback, bot: Container) -> None:
    shared.kill(bot)

    shared.wait_for(lambda: serving(shared, "Bot") not in ([], [bot]))

    assert get(shared, "/").status_code == 200


def test_a_preempted_server_is_replaced_when_it_is_gone(shared: Loopback, bot: Container) -> None:
    shared.preempt(bot)

    assert get(shared, "/").status_code == 503
    shared.wait_for(lambda: serving(shared, "Bot"))
    assert bot.state == "ended"
    assert "left in order" in bot.text


def test_a_server_that_closes_its_port_is_replaced(shared: Loopback, bot: Container) -> None:
    get(shared, "/deaf")

    shared.wait_for(lambda: serving(shared, "Bot") not in ([], [bot]))

    assert get(shared, "/").status_code == 200


def test_a_redeploy_hands_over_without_a_gap_and_finishes_open_requests(
    shared: Loopback, bot: Container, path: Path
) -> None:
    path.write_text(APP.replace('"one"', '"two"'))
    until = path.with_name("may-end")
    slow: list[str] = []
    long = threading.Thread(target=lambda: slow.append(get(shared, f"/slow?until={until}").text))
    long.start()
    shared.wait_for(lambda: bot.requests)

    shared.deploy(path)
    answers = [get(shared, "/")]
    while answers[-1].text != "two":
        answers.append(get(shared, "/"))
    shared.wait_for(lambda: bot.is_retiring)
    until.touch()
    long.join()
    shared.wait_for(lambda: bot.state == "ended")

    assert {answer.status_code for answer in answers} == {200}
    assert "left in order" in bot.text
    assert slow == ["begun ended"]


def test_a_server_that_does_not_stop_is_killed(
    shared: Loopback, bot: Container, path: Path
) -> None:
    path.write_text(APP.replace("await self.runner.cleanup()", "time.sleep(600)"))
    shared.deploy(path)
    shared.wait_for(lambda: bot.state == "ended" and serving(shared, "Bot"))
    (stuck,) = serving(shared, "Bot")
    shared.settings.server_grace_seconds = 0.2
    path.write_text(APP)

    shared.deploy(path)
    shared.wait_for(lambda: stuck.state == "ended")

    assert stuck.exit_code == 137
    assert get(shared, "/").text == "one"


def test_a_server_without_minimum_starts_at_the_first_request_and_wants_a_token(
    shared: Loopback, bot: Container
) -> None:
    token = {"Modal-Key": "wk-1", "Modal-Secret": "ws-1"}
    assert not shared.containers("Private")

    first = get(shared, "/", "Private", **token)
    shared.wait_for(lambda: serving(shared, "Private"))

    assert first.status_code == 503
    assert get(shared, "/", "Private").status_code == 401
    assert get(shared, "/", "Private", **token).text == "one"


def test_a_server_unreachable_from_outside_never_serves(
    shared: Loopback, bot: Container, path: Path
) -> None:
    inside = APP.replace('"0.0.0.0"', '"127.0.0.1"')
    path.write_text(inside.replace("startup_timeout=20", "startup_timeout=1"))

    shared.deploy(path)
    containers = shared.plane.scheduler.containers.values()
    shared.wait_for(lambda: any("does not listen on 0.0.0.0" in its.text for its in containers))

    assert serving(shared, "Bot") == [bot]
    path.write_text(APP)
    shared.deploy(path)
    shared.wait_for(lambda: bot.state == "ended")


def test_a_recreating_deploy_stops_the_old_containers_first(
    shared: Loopback, bot: Container, path: Path
) -> None:
    path.write_text(APP.replace('"one"', '"three"'))

    shared.deploy(path, strategy="recreate")

    assert bot.state == "ended"
    shared.wait_for(lambda: serving(shared, "Bot"))
    assert get(shared, "/").text == "three"


def test_the_stop_of_an_app_ends_its_servers(shared: Loopback, bot: Container) -> None:
    url = shared.public_url("Bot")

    shared.run("app", "stop", "web", "--yes")
    shared.wait_for(lambda: not shared.plane.scheduler.living_all())

    assert bot.exit_code == 0  # it was asked to end, not killed
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)
