"""Actions on a run, shared by commands and buttons."""

import io
from collections.abc import Awaitable, Callable, Iterable

import discord

from bot.discord.answers.answers import (
    Interaction,
    answer,
    guild_of,
    person_of,
    requester_of,
)
from bot.messages.runs.answers import (
    cancelled_card,
    finishing_card,
    resumed_card,
    retried_card,
    saving_card,
)
from bot.service.service import Service
from bot.service.threads import in_thread
from training.errors import NotFoundError
from training.pipeline.log_tail import LogTail, log_tails
from training.remedies import ShowRuns

ShowRun = Callable[[str, str], Awaitable[None]]


async def cancel_run(interaction: Interaction, service: Service, run: str) -> None:
    """Cancel a run, and confirm the request to the user."""
    view = await service.cancel(person_of(interaction), run)
    await answer(interaction, cancelled_card(view), ephemeral=True)


async def save_run(interaction: Interaction, service: Service, run: str) -> None:
    """Ask a run to save checkpoints now, and confirm the request to the user."""
    await service.save_now(person_of(interaction), run)
    await answer(interaction, saving_card(run), ephemeral=True)


async def finish_run(interaction: Interaction, service: Service, run: str) -> None:
    """Ask a run to finish early, and confirm the request to the user."""
    await service.finish_here(person_of(interaction), run)
    await answer(interaction, finishing_card(run), ephemeral=True)


async def resume_run(interaction: Interaction, service: Service, show: ShowRun, run: str) -> None:
    """Resume a failed or cancelled run as a new run, and show the new run's card."""
    spec = await service.resume(person_of(interaction), run, requester_of(interaction))
    await answer(interaction, resumed_card(spec), ephemeral=True)
    await show(guild_of(interaction), spec.name)


async def try_again(interaction: Interaction, service: Service, show: ShowRun, run: str) -> None:
    """Retry a failed run with the suggested change, and show the new run's card.

    Raises:
        RequestError: No change is suggested for this failure.
    """
    spec = await service.try_again(person_of(interaction), run, requester_of(interaction))
    view = await in_thread(service.installation.runs.view, guild_of(interaction), run)
    if view.run.suggestion is None:
        raise ValueError(f"{run} was retried without a suggested change")
    await answer(interaction, retried_card(spec, view.run.suggestion, run), ephemeral=True)
    await show(guild_of(interaction), spec.name)


async def send_logs(interaction: Interaction, service: Service, run: str) -> None:
    """Send the last log lines of every expert's training, or else of the cache stage.

    Raises:
        NotFoundError: No stage has written a log.
    """
    runs, runtime = service.installation.runs, service.installation.runtime

    def find() -> list[LogTail]:
        return log_tails(runtime, runs.find(guild_of(interaction), run))

    tails = await in_thread(find)
    if not tails:
        raise NotFoundError(
            f"{run} has no log yet.", "Try again once it is caching or training.", ShowRuns(run=run)
        )
    await interaction.followup.send(files=log_files(tails), ephemeral=True)


def log_files(tails: Iterable[LogTail]) -> list[discord.File]:
    """Return log tails as files, named after their stage and attempt."""
    return [
        discord.File(io.BytesIO(tail.text.encode()), filename=f"{tail.key}-{tail.attempt}.txt")
        for tail in tails
    ]
