"""People who keep asking a bot that may be gone at any moment, and count what they get."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from bot.messages.card import Colour
from bot.sandbox.client import Message, NoResponseError, Option, SandboxUser

INTERRUPTED = "The bot was restarted while handling your request."
BUG = "Something went wrong"
# A restarted bot tells within 30 s whose command was cut off; it may be killed once more meanwhile.
ANSWER_SECONDS = 100.0


@dataclass
class Tally:
    """What became of the commands of everybody.

    Attributes:
        unacknowledged: Commands that the bot did not take within 3 s; Discord says so to the user.
        while_down: How many of these were asked while the bot was down, or came up.
        unanswered: Commands that the bot took and never answered.
        waits: How long the others took, in seconds.
        calm_waits: Those of them that were asked while nothing was wrong.
        wrong: What must not be: commands that were taken and never answered, and bugs.
    """

    answered: int = 0
    refused: int = 0
    interrupted: int = 0
    unacknowledged: int = 0
    while_down: int = 0
    unanswered: int = 0
    downloads: int = 0
    waits: list[float] = field(default_factory=list[float])
    calm_waits: list[float] = field(default_factory=list[float])
    wrong: list[str] = field(default_factory=list[str])

    def line(self) -> str:
        return (
            f"{self.answered} answers, {self.refused} refusals, {self.interrupted} cut off, "
            f"{self.unacknowledged} missed ({self.while_down} of them amid trouble)"
        )

    def waiting(self) -> list[str]:
        """Return how long answers took."""
        found = list[str]()
        for name, waits in (("all answers", self.waits), ("asked in calm", self.calm_waits)):
            if ordered := sorted(waits):
                at = (ordered[int(share * (len(ordered) - 1))] for share in (0.5, 0.99))
                median, p99 = (f"{1000 * seconds:.0f} ms" for seconds in at)
                found.append(f"{name}: median {median}, p99 {p99} of {len(ordered)}")
        return found


@dataclass(frozen=True)
class Asker:
    """One person in one channel.

    Attributes:
        was_up: Tells whether nothing was wrong with the bot since a time of the monotonic clock.
    """

    user: SandboxUser
    tally: Tally
    was_up: Callable[[float], bool]

    async def ask(self, command: str, **options: Option) -> Message | None:
        """Type a command and return the answer; None if there was none, or if it was cut off."""
        given = {name.replace("_", "-"): value for name, value in options.items()}
        began = time.monotonic()
        asked = await self.user.command(command, given)
        if asked.status == "failed":
            self._missed(began)
            return None
        try:
            answer = await self.user.reply(asked, timeout=ANSWER_SECONDS)
        except (NoResponseError, TimeoutError) as error:
            self.tally.unanswered += 1
            self.tally.wrong.append(f"/{command} {given}: taken, but not answered: {error!r}")
            return None
        return self._judge(command, answer, began)

    async def until_done(
        self, command: str, is_done: Callable[[Message], bool], **options: Option
    ) -> Message:
        """Type a command again and again until its answer says that it is done."""
        while True:
            answer = await self.ask(command, **options)
            if answer is not None and is_done(answer):
                return answer
            await asyncio.sleep(0.5)

    async def complete(
        self, command: str, option: str, typed: str, *, must_find: bool = False
    ) -> None:
        """Ask for suggestions; having none means having missed them if there must be some."""
        began = time.monotonic()
        if await self.user.autocomplete(command, option, typed) or not must_find:
            self.tally.answered += 1
            self._note(began)
        else:
            self._missed(began)

    def _missed(self, began: float) -> None:
        self.tally.unacknowledged += 1
        self.tally.while_down += not self.was_up(began)

    def _note(self, began: float) -> None:
        self.tally.waits.append(time.monotonic() - began)
        if self.was_up(began):
            self.tally.calm_waits.append(self.tally.waits[-1])

    def _judge(self, command: str, answer: Message, began: float) -> Message | None:
        if BUG in answer.text:
            self.tally.wrong.append(f"/{command}: {answer.text}")
        if INTERRUPTED in answer.text:
            self.tally.interrupted += 1
            return None
        is_refused = bool(answer.embeds) and answer.embeds[0]["color"] == Colour.BAD
        self.tally.refused += is_refused
        self.tally.answered += not is_refused
        self._note(began)
        return answer
