"""A person who types to the bot, for tests."""

from collections.abc import Callable
from dataclasses import dataclass

from bot.demo.conversation import answer_to, is_card
from bot.messages.card import Colour
from bot.sandbox.client import Message, Option, SandboxUser
from bot.sandbox.server import SandboxServer

ROLE = "lora-team"


@dataclass(frozen=True)
class Chat:
    """One person in one channel of the sandbox."""

    user: SandboxUser

    async def ask(self, command: str, **options: Option) -> Message:
        """Type a command and return the answer."""
        given = {name.replace("_", "-"): value for name, value in options.items()}
        interaction = await self.user.command(command, given)
        assert interaction.status != "failed", "not acknowledged within 3 seconds"
        return await answer_to(self.user, interaction)

    async def refused(self, command: str, **options: Option) -> str:
        """Type a command that must be refused and return the refusal."""
        answer = await self.ask(command, **options)
        assert answer.embeds, answer.text
        assert answer.embeds[0]["color"] == Colour.BAD
        assert "What to do" in answer.text
        return answer.text

    async def ping(self, run: str, *, patience_seconds: float = 120) -> Message:
        """Wait for the ping at the end of a run."""
        return await self.user.wait_for(
            lambda m: bool(m.mentions) and f" {run} " in m.content, timeout=patience_seconds
        )

    async def card(
        self, run: str, fits: Callable[[Message], bool] = lambda _message: True
    ) -> Message:
        """Wait until the run's public card fits."""
        return await self.user.wait_for(
            lambda m: is_card(m, run) and fits(m),
            timeout=120,
        )

    async def told(self, card: Message, title: str) -> Message:
        """Wait until the thread below a run's card has a message with this title."""
        return await self.user.wait_for(lambda m: m.channel_id == card.id and m.title == title)


def give_role(server: SandboxServer, name: str, *, renamed: str = ROLE) -> None:
    """Give somebody the team role in every server, under another name."""
    user = next(u for u in server.world.users.values() if u["global_name"] == name)
    for guild in server.world.guilds.values():
        role = next(one for one in guild["roles"] if one["name"] == ROLE)
        role["name"] = renamed
        guild["members"][user["id"]]["roles"] = [role["id"]]
        server.world.save_guild(guild)
