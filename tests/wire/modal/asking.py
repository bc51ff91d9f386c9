"""Types commands one after the other while copies of the bot come and go, for tests."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from bot.sandbox import interactions
from bot.sandbox.client import NoResponseError
from bot.sandbox.server import SandboxServer
from bot.sandbox.wire import Json
from bot.sandbox.world.attachments import FilePart
from tests.wire.bot.chat import Chat, is_card
from tests.wire.modal.loopback.api import PATIENCE_SECONDS

# Discord gives up after 3 s. A busy machine may take longer, and a command that no copy of the bot
# has received is given up at any time.
ANSWER_SECONDS = 20.0


@dataclass
class Asked:
    """The outcome of typed commands.

    Attributes:
        answered: Seconds of the loop's clock at which the answered ones were typed.
        failed: Likewise of those that Discord gave up.
        acknowledgements: How often each interaction was acknowledged.
    """

    answered: list[float] = field(default_factory=list[float])
    failed: list[float] = field(default_factory=list[float])
    acknowledgements: Counter[str] = field(default_factory=Counter[str])

    async def until_answered(self) -> None:
        """Wait until a command typed from now on is answered."""
        now = asyncio.get_running_loop().time()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while max(self.answered, default=now) <= now:  # noqa: ASYNC110
                await asyncio.sleep(0.05)  # whoever types tells nobody


@asynccontextmanager
async def asking(server: SandboxServer, chat: Chat, every: float = 0.1) -> AsyncGenerator[Asked]:
    """Type a command again and again until the body ends; each is waited for."""
    asked, loop = Asked(), asyncio.get_running_loop()
    take = server.interactions.answer

    def answer(interaction_id: str, token: str, body: Json, uploads: dict[int, FilePart]) -> Json:
        asked.acknowledgements[interaction_id] += 1
        return take(interaction_id, token, body, uploads)

    async def ask() -> None:
        at = loop.time()
        interaction = await chat.user.command("models")
        try:
            await chat.user.reply(interaction)
        except NoResponseError:
            asked.failed.append(at)
        else:
            asked.answered.append(at)

    server.interactions.answer = answer
    is_over = asyncio.Event()
    async with _patience(), asyncio.TaskGroup() as group:
        typing = group.create_task(_repeat(lambda: group.create_task(ask()), is_over, every))
        try:
            yield asked
        finally:
            is_over.set()
            await typing
    server.interactions.answer = take


@asynccontextmanager
async def _patience() -> AsyncGenerator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(interactions, "ANSWER_SECONDS", ANSWER_SECONDS)
        yield


async def _repeat(begin: Callable[[], object], is_over: asyncio.Event, every: float) -> None:
    while not is_over.is_set():
        begin()
        await asyncio.sleep(every)


async def cards_and_pings(chat: Chat, run: str) -> tuple[int, int]:
    """Return how many cards and how many pings a run has."""
    seen = await chat.user.messages()
    pings = [one for one in seen if one.mentions and f" {run} " in one.content]
    return len([one for one in seen if is_card(one, run)]), len(pings)
