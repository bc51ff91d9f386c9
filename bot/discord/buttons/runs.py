"""The buttons of a run's card; the run's name is in them, so that they survive a restart."""

import re
from typing import Literal, Self

import discord

from bot.discord.answers.answers import answer_error
from bot.discord.answers.run_actions import cancel_run, resume_run, send_links, try_again
from bot.discord.copies.interaction_claims import Claimed, ClaimingClient
from bot.messages.remedy_text import retry_label
from bot.service.service import Service
from training.pipeline.run_view import RunView
from training.runs.state import RunStatus

Action = Literal["cancel", "download", "resume", "retry"]
_LABELS: dict[Action, tuple[str, discord.ButtonStyle]] = {
    "cancel": ("Cancel", discord.ButtonStyle.danger),
    "download": ("Download", discord.ButtonStyle.primary),
    "resume": ("Resume", discord.ButtonStyle.secondary),
    "retry": ("Try again with a change", discord.ButtonStyle.success),
}


class ServiceClient(ClaimingClient):
    """A client that carries the use cases, so that buttons find them after a restart."""

    service: Service
    team_role: str | None

    async def show_run(self, guild: str, run: str) -> None:
        """Post or edit the card of a run."""
        raise NotImplementedError


class RunButton(
    Claimed,
    discord.ui.DynamicItem[discord.ui.Button[discord.ui.View]],
    template=r"(?P<action>cancel|download|resume|retry):(?P<run>[a-z0-9_-]{1,64})",
):
    """Does one thing with the run that it names."""

    def __init__(self, action: Action, run: str, label: str | None = None) -> None:
        usual, style = _LABELS[action]
        button = discord.ui.Button[discord.ui.View](
            label=label or usual, style=style, custom_id=f"{action}:{run}"
        )
        super().__init__(button)
        self._action: Action = action
        self._run = run

    @classmethod
    async def from_custom_id(
        cls,
        interaction: discord.Interaction,  # noqa: ARG003  # discord.py's signature
        item: discord.ui.Item[discord.ui.View],  # noqa: ARG003
        match: re.Match[str],
        /,
    ) -> Self:
        """Return the button that a press on an old message means."""
        return cls(next(action for action in _LABELS if action == match["action"]), match["run"])

    async def callback(self, interaction: discord.Interaction) -> None:
        """Do it, and tell whoever pressed."""
        client = interaction.client
        if not isinstance(client, ServiceClient):
            raise TypeError("the button belongs to a ServiceClient")
        await interaction.response.defer(ephemeral=True, thinking=True)
        try:
            match self._action:
                case "cancel":
                    await cancel_run(interaction, client.service, self._run, client.team_role)
                case "download":
                    await send_links(interaction, client.service, self._run)
                case "resume":
                    await resume_run(interaction, client.service, client.show_run, self._run)
                case "retry":
                    await try_again(interaction, client.service, client.show_run, self._run)
        except Exception as error:  # noqa: BLE001  # discord.py has no error hook for these items
            await answer_error(interaction, error)


def run_buttons(view: RunView) -> discord.ui.View:
    """Return what can be done with a run as it stands now."""
    buttons = discord.ui.View(timeout=None)
    if not view.run.status.is_final:
        buttons.add_item(RunButton("cancel", view.spec.name))
    if any(view.expert(expert.name).checkpoints for expert in view.spec.experts):
        buttons.add_item(RunButton("download", view.spec.name))
    if view.run.status in (RunStatus.FAILED, RunStatus.CANCELLED):
        buttons.add_item(RunButton("resume", view.spec.name))
    if view.run.suggestion is not None:
        label = retry_label(view.run.suggestion)
        buttons.add_item(RunButton("retry", view.spec.name, label))
    return buttons
