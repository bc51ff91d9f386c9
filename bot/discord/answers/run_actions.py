"""Actions on a run that commands and buttons share."""

from collections.abc import Awaitable, Callable

import discord

from bot.discord.answers.answers import Interaction, answer, guild_of, requester_of
from bot.discord.answers.embed import to_embed
from bot.messages.lists import cancelled_card, download_card, resumed_card, retried_card
from bot.service.service import Service
from bot.service.threads import in_thread
from training.errors import RequestError
from training.pipeline.run_view import RunView

ShowRun = Callable[[str, str], Awaitable[None]]


async def cancel_run(
    interaction: Interaction, service: Service, run: str, team_role: str | None
) -> None:
    """Cancel a run and confirm it to the user.

    Raises:
        RequestError: The user may not, or the run has ended.
    """
    guild = guild_of(interaction)
    view = await service.run(guild, run)
    _require_may_cancel(interaction, view, team_role)
    view = await service.cancel(guild, run, by=str(interaction.user.id))
    await answer(interaction, cancelled_card(view), ephemeral=True)


async def send_links(interaction: Interaction, service: Service, run: str) -> None:
    """Send the user links to the checkpoints of a run, and a workflow."""
    guild = guild_of(interaction)
    found = await service.links(guild, run)
    view = await service.run(guild, run)
    card = download_card(view, found.checkpoints, found.archive, found.pairs)
    with found.workflow.open() as content:
        file = discord.File(content, filename=found.workflow.name)
        await interaction.followup.send(embed=to_embed(card), file=file, ephemeral=True)


async def resume_run(interaction: Interaction, service: Service, show: ShowRun, run: str) -> None:
    """Resume a failed or cancelled run as a new run, and show its card."""
    spec = await in_thread(service.installation.runs.resume, run, requester_of(interaction))
    await answer(interaction, resumed_card(spec), ephemeral=True)
    await show(guild_of(interaction), spec.name)


async def try_again(interaction: Interaction, service: Service, show: ShowRun, run: str) -> None:
    """Retry a failed run with the suggested change, and show its card.

    Raises:
        RequestError: There is no suggestion for it.
    """
    spec = await in_thread(service.installation.runs.try_again, run, requester_of(interaction))
    view = await service.run(guild_of(interaction), run)
    if view.run.suggestion is None:
        raise ValueError(f"{run} was started again without a suggestion")
    await answer(interaction, retried_card(spec, view.run.suggestion, run), ephemeral=True)
    await show(guild_of(interaction), spec.name)


def _require_may_cancel(interaction: Interaction, view: RunView, team_role: str | None) -> None:
    user = interaction.user
    if str(user.id) == view.spec.requested_by:
        return
    if isinstance(user, discord.Member):
        has_role = any(role.name == team_role for role in user.roles)
        if has_role or user.guild_permissions.manage_guild:
            return
    role = f", members with the role {team_role}" if team_role else ""
    raise RequestError(
        f"{view.spec.name} was started by somebody else.",
        f"Only its owner{role} and members who manage the server can cancel it.",
    )
