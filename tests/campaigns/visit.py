"""What people do with a furnished home, and what they get: always the same, unless it is lost."""

import asyncio
import hashlib
import io
import re
import zipfile
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx

from bot.messages.card import Colour
from bot.sandbox.client import Message, NoResponseError, Option, SandboxUser
from bot.sandbox.server import SandboxServer
from tests.campaigns.furnished import PAIR, SHORT, Furnished
from tests.campaigns.operated import OperatedBot, StartError
from tests.campaigns.upload import Upload
from tests.wire.bot.chat import Chat

_RUN_SECONDS = 400.0
_STEPS_OF_UPLOAD = 300
_LINK = re.compile(r"https?://[^\s)>]+")
_DIGEST = re.compile(r"safetensors: (\w+)")
_BUG = "Something went wrong"
_BROKEN_OFF = "file broken off"


@dataclass(frozen=True)
class Answer:
    """What somebody got.

    Attributes:
        is_refused: Whether it says that something did not work, with the cause and the way on.
        text: The text, for people.
        facts: What must be the same each time.
    """

    is_refused: bool
    text: str
    facts: str

    @property
    def is_broken(self) -> bool:
        """Return whether there was no answer, or one that tells neither cause nor way on."""
        return not self.text or _BUG in self.text or (self.is_refused and "to do" not in self.text)


@dataclass
class Visit:
    """All answers of one visit, by what was asked, and what was logged unexpectedly."""

    answers: dict[str, Answer] = field(default_factory=dict[str, Answer])
    troubles: list[str] = field(default_factory=list[str])


async def visit(scene: Furnished, folder: Path) -> Visit:
    """Start the bot on the home in `folder` and do everything that people do."""
    found = Visit()
    server = SandboxServer(folder / "sandbox")
    await server.start()
    bot = OperatedBot(server, folder / "home", folder / "visit.log")
    async with AsyncExitStack() as stack:
        stack.push_async_callback(server.stop)
        stack.push_async_callback(bot.kill_all)
        try:
            await bot.start()
        except StartError as error:
            said = str(error)
            found.answers["start"] = Answer(is_refused=True, text=said, facts="")
            if "Traceback" in said:
                found.troubles.append(said[-1500:])
            return found
        ada = await stack.enter_async_context(SandboxUser(server.page_url, user="Ada"))
        cleo_user = SandboxUser(server.page_url, user="Cleo", guild="Studio B")
        cleo = await stack.enter_async_context(cleo_user)
        await _Visitor(scene, found, Chat(ada), Chat(cleo)).do_everything()
    found.troubles += bot.tracebacks()
    return found


@dataclass
class _Visitor:
    scene: Furnished
    found: Visit
    ada: Chat
    cleo: Chat

    async def do_everything(self) -> None:
        await self._look()
        resumed = await self._ask("resume", "resume", run_name="stopped")
        trained = await self._ask(
            "train",
            "train",
            None,
            model=PAIR,
            dataset="annika@2",
            name="again",
            expert="high",
            **SHORT,
        )
        await self._note("upload", self._continue_upload)
        await self._ask("restore dataset", "dataset restore", name="berta")
        await self._ask("restore run", "run restore", run_name="removed")
        await self._ask("restored", "download", run_name="removed")
        await self._until_ended("going")
        if not trained.is_refused:
            await self._until_ended("again")
        if not resumed.is_refused:
            await self._until_ended("stopped-2")
        await self._ask("elsewhere", "download", self.cleo, run_name="control")
        await self._ask("runs at the end", "runs")

    async def _look(self) -> None:
        await self._ask("runs", "runs")
        for run in ("done", "stopped"):
            await self._ask(f"status {run}", "status", run_name=run)
            await self._ask(f"download {run}", "download", run_name=run)
        await self._ask("datasets", "dataset list")
        await self._ask("dataset", "dataset show", name="annika")
        await self._ask("captions", "dataset captions", name="annika")
        await self._ask("checkpoints", "checkpoint list")
        await self._ask("settings", "settings")

    async def _until_ended(self, run: str) -> None:
        """Wait for the end of a run; if it failed, do what it says and wait once more."""
        ping = await self._ping(run)
        for number in range(2, 4):
            if ping is None or "succeeded" in ping.content:
                break
            card = await self.ada.card(run)
            name = f"{run}: failed"
            while name in self.found.answers:
                name += " again"
            self.found.answers[name] = Answer(is_refused=False, text=card.text, facts="")
            again = await self._ask(f"{run}: resume {number}", "resume", run_name=run)
            if again.is_refused:
                return
            run = f"{run.removesuffix('-2')}-{number if run.endswith('-2') else 2}"
            ping = await self._ping(run)
        if ping is None:
            self.found.answers[f"end of {run}"] = Answer(is_refused=False, text="", facts="")
            return
        base = run.split("-")[0]
        answer = await self._ask(f"files of {base}", "download", run_name=run)
        # A resumed run has another name and fewer checkpoints, but the last one is the same.
        digests = sorted(set(_DIGEST.findall(answer.facts)))
        self.found.answers[f"files of {base}"] = replace(answer, facts=" ".join(digests))

    async def _ping(self, run: str) -> Message | None:
        try:
            return await self.ada.user.wait_for(
                lambda m: bool(m.mentions) and f" {run} " in m.content, timeout=_RUN_SECONDS
            )
        except TimeoutError:
            return None

    async def _ask(
        self, name: str, command: str, chat: Chat | None = None, /, **options: Option
    ) -> Answer:
        async def act() -> Answer:
            asker = chat or self.ada
            message, files = await _get(asker, command, options)
            if any(_BROKEN_OFF in file for file in files):
                # A damaged file breaks the download off; from then on it is left out and named.
                message, files = await _get(asker, command, options)
            is_refused = bool(message.embeds) and message.embeds[0]["color"] == Colour.BAD
            # Runs that began within one second are listed in any order.
            facts = "\n".join(sorted([*_facts(message.text), *filter(None, files)]))
            is_bad = is_refused and "What to do" in message.text
            return Answer(is_refused=is_bad, text=message.text, facts=facts)

        return await self._note(name, act)

    async def _note(self, name: str, act: Callable[[], Awaitable[Answer]]) -> Answer:
        try:
            answer = await act()
        except (AssertionError, NoResponseError, TimeoutError) as error:
            answer = Answer(is_refused=True, text="", facts=type(error).__name__)
        self.found.answers[name] = answer
        return answer

    async def _continue_upload(self) -> Answer:
        name, value = self.scene.upload_cookie
        async with httpx.AsyncClient(cookies={name: value}, timeout=60.0) as http:
            data = await asyncio.to_thread(self.scene.archive.read_bytes)
            upload = Upload(http, self.scene.upload_link, data)
            try:
                for _ in range(_STEPS_OF_UPLOAD):
                    if await upload.go_on():
                        return Answer(is_refused=False, text="stored", facts="stored")
                    await asyncio.sleep(0.2)
            except httpx.HTTPStatusError as error:
                return _of_http(error.response)
            except httpx.TransportError as error:
                return Answer(is_refused=True, text="", facts=repr(error))
        return Answer(is_refused=True, text="", facts="it goes on and on")


def _of_http(answer: httpx.Response) -> Answer:
    try:
        told = answer.json()
        text = f"{told['cause']}\nWhat to do: {told['fix']}"
    except (ValueError, KeyError):
        text = ""
    return Answer(is_refused=True, text=text, facts=f"{answer.status_code} {answer.text[:300]}")


async def _get(
    chat: Chat, command: str, options: Mapping[str, Option]
) -> tuple[Message, list[str]]:
    """Type a command; return its answer, and what its attachments and links hold."""
    message = await chat.ask(command, **options)
    files = [await _file(one.url) for one in message.attachments]
    return message, files + [await _file(link) for link in _LINK.findall(message.text)]


async def _file(url: str) -> str:
    """Return the digest of what a link or an attachment holds; without the header of a LoRA."""
    is_ours = url.startswith("http://127.0.0.1")
    if not is_ours or "/upload" in url:
        return ""
    async with httpx.AsyncClient(timeout=60.0) as http:
        try:
            found = await http.get(url)
        except httpx.TransportError as error:
            return f"{_BROKEN_OFF}: {error!r}"
    if found.is_error:
        return f"file: {found.status_code} {found.text[:200]}"
    content = found.content
    name = url.partition("?")[0].rpartition("/")[2]
    if name.endswith(".safetensors"):
        content = content[8 + int.from_bytes(content[:8], "little") :]
    if name.endswith(".zip"):
        return _missing_from(content)
    if name.endswith((".txt", ".webp", ".jpg", ".png", ".json")):
        return ""  # they tell times, or are made anew each time
    return f"{name}: {hashlib.sha256(content).hexdigest()[:16]}"


def _missing_from(archive: bytes) -> str:
    """Return which files a zip of checkpoints says that it lacks; the rest tells times."""
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        lines = [
            line
            for name in opened.namelist()
            if name == "README.txt"
            for line in opened.read(name).decode().splitlines()
        ]
    return "\n".join(line for line in lines if "gone or damaged" in line)


def _facts(text: str) -> list[str]:
    """Return the lines of an answer without what differs each time, such as how far a run is."""
    plain = _LINK.sub("", re.sub(r"<t:\d+(:\w)?>", "", text))
    lines = (re.sub(r"\d+", "#", line).strip() for line in plain.splitlines())
    return [line for line in lines if line and "going" not in line and line[0] not in "▰▱"]
