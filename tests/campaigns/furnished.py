"""A home that holds a file of every kind: what people stored, made, removed and left unfinished."""

import asyncio
import shutil
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx

from bot.messages.card import Colour
from bot.sandbox.client import Message, Option, SandboxUser
from bot.sandbox.server import SandboxServer
from tests.adapters import SPELLINGS, respelled, tensors, widths, write_adapter
from tests.campaigns.operated import OperatedBot
from tests.campaigns.upload import Upload
from tests.media import guide_files, write_zip
from tests.wire.bot.chat import Chat

SINGLE, PAIR = "wan21-t2v-1-3b", "wan22-t2v-lightning"
SHORT = {"epochs": "2", "save_every": "1"}
# Training is slow while the home is furnished, so that it can be cut off.
_SLOW = {"LORABOT_STEP_DELAY": "0.3", "LORABOT_STATE_SECONDS": "0.1", "LORABOT_LINK_HOURS": "700"}


@dataclass(frozen=True)
class Furnished:
    """The folders of a furnished home, with what people have beside it.

    Attributes:
        upload_link: The address of an upload of which the first half has arrived.
        upload_cookie: What the browser has that opened it.
        archive: The zip of the dataset annika.
    """

    folder: Path
    upload_link: str
    upload_cookie: tuple[str, str]
    archive: Path
    adapter: Path

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def copy(self, folder: Path) -> None:
        """Copy the home and its sandbox, links as links."""
        shutil.copytree(self.folder, folder, symlinks=True)


async def furnish(folder: Path) -> Furnished:
    """Make a home below `folder`, and cut off everything that happens in it."""
    await asyncio.to_thread(folder.mkdir, parents=True)
    archive = write_zip(folder / "annika.zip", guide_files(images=2, clips=1, frames=49))
    adapter = write_adapter(
        folder / "old.safetensors", respelled(tensors(widths(SINGLE)), SPELLINGS["peft"])
    )
    server = SandboxServer(folder / "sandbox")
    await server.start()
    bot = OperatedBot(server, folder / "home", folder / "bot.log", _SLOW)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(server.stop)
        stack.push_async_callback(bot.kill_all)
        await bot.start()
        ada = Chat(await stack.enter_async_context(SandboxUser(server.page_url, user="Ada")))
        cleo_user = SandboxUser(server.page_url, user="Cleo", guild="Studio B")
        cleo = Chat(await stack.enter_async_context(cleo_user))
        link, cookie = await _fill(ada, cleo, archive, adapter)
        return Furnished(folder, link, cookie, archive, adapter)


async def _fill(ada: Chat, cleo: Chat, archive: Path, adapter: Path) -> tuple[str, tuple[str, str]]:
    await done(cleo, "dataset add", name="control", zip=archive)
    await done(cleo, "train", model=SINGLE, dataset="control", name="control", **SHORT)
    await done(ada, "dataset add", name="annika", zip=archive, trigger="ohwx", prefix=True)
    await done(ada, "dataset captions", name="annika", trigger="ann1ka", replaces="ohwx")
    await done(ada, "dataset add", name="berta", zip=archive)
    asked = await ada.ask("dataset remove", name="berta")
    (confirm,) = (label for label in asked.buttons if label.startswith("Remove"))
    await ada.user.reply(await ada.user.press(asked, confirm))
    await done(ada, "checkpoint add", file=adapter, model=SINGLE, name="old")
    await done(ada, "train", model=PAIR, dataset="annika", name="done", expert="high", **SHORT)
    await done(ada, "train", model=SINGLE, dataset="annika", name="removed", epochs="1")
    started = {"model": SINGLE, "dataset": "annika", "resume_from": "old", "rank": "4"}
    await done(ada, "train", **started, name="stopped", epochs="20", save_every="1")
    for run in ("control", "done", "removed"):
        await (cleo if run == "control" else ada).ping(run)
    await ada.card("stopped", lambda m: "Download" in m.buttons)
    await done(ada, "cancel", run_name="stopped")
    await ada.ping("stopped")
    await done(ada, "run remove", run_name="removed")
    unusual = {"epochs": "1", "learning_rate": "0.1"}
    await ada.ask("train", model=SINGLE, dataset="annika", name="unusual", **unusual)
    upload = await _begin_upload(ada, archive)
    await done(ada, "train", model=PAIR, dataset="annika", name="going", expert="high", **SHORT)
    await ada.card("going", lambda m: "Download" in m.buttons)
    return upload


async def _begin_upload(ada: Chat, archive: Path) -> tuple[str, tuple[str, str]]:
    answer = await done(ada, "dataset upload", name="dora")
    (button,) = (one for one in answer.buttons.values() if "url" in one)
    data = await asyncio.to_thread(archive.read_bytes)
    async with httpx.AsyncClient() as http:
        upload = Upload(http, str(button["url"]), data)
        while upload.sent_bytes < len(data) // 2:
            await upload.go_on()
        ((name, value),) = http.cookies.items()
    return upload.link, (name, value)


async def done(chat: Chat, command: str, **options: Option) -> Message:
    """Type a command that must not be refused and return the answer."""
    answer = await chat.ask(command, **options)
    assert answer.embeds
    assert answer.embeds[0]["color"] != Colour.BAD, answer.text
    return answer
