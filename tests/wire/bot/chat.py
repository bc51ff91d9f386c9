"""A person who types to the bot, for tests."""

from collections.abc import Callable
from dataclasses import dataclass

from bot.messages.card import Colour
from bot.sandbox.client.models import Message
from bot.sandbox.client.user import Option, SandboxUser

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
        return await self.user.reply(interaction, timeout=60)

    async def refused(self, command: str, **options: Option) -> str:
        """Type a command that must be refused and return the sentence that says so."""
        answer = await self.ask(command, **options)
        assert answer.embeds, answer.text
        assert answer.embeds[0]["color"] == Colour.BAD
        assert "What to do" in answer.text
        return answer.text

    async def ping(self, run: str) -> Message:
        """Wait for the ping at the end of a run."""
        return await self.user.wait_for(
            lambda m: bool(m.mentions) and f" {run} " in m.content, timeout=120
        )

    async def card(
        self, run: str, fits: Callable[[Message], bool] = lambda _message: True
    ) -> Message:
        """Wait for the run's card as all see it, until it fits."""
        return await self.user.wait_for(
            lambda m: is_card(m, run) and fits(m),
            timeout=120,
        )


def is_card(message: Message, run: str) -> bool:
    """Return whether a message is the public card of a run."""
    titles = [str(embed.get("title", "")) for embed in message.embeds]
    return not message.ephemeral and any(title.startswith(f"{run}:") for title in titles)
