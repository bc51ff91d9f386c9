"""The buttons on a run's card."""

import re
from typing import Literal, Self

import discord

from bot.discord.answers.answers import Interaction
from bot.discord.answers.run_actions import cancel_run, resume_run, send_links, try_again
from bot.discord.buttons.named_button import NamedButton, ServiceClient
from bot.messages.remedy_text import retry_label
from training.pipeline.run_view import RunView
from training.runs.state import RunStatus

Action = Literal["cancel", "download", "resume", "retry"]
_LABELS: dict[Action, tuple[str, discord.ButtonStyle]] = {
    "cancel": ("Cancel", discord.ButtonStyle.danger),
    "download": ("Download", discord.ButtonStyle.primary),
    "resume": ("Resume", discord.ButtonStyle.secondary),
    "retry": ("Try again with a change", discord.ButtonStyle.success),
}


class RunButton(
    NamedButton,
    template=r"(?P<action>cancel|download|resume|retry):(?P<run>[a-z0-9_-]{1,64})",
):
    """Acts on the run that it names."""

    def __init__(self, action: Action, run: str, label: str | None = None) -> None:
        usual, style = _LABELS[action]
        super().__init__(label or usual, style, f"{action}:{run}")
        self._action: Action = action
        self._run = run

    @classmethod
    def from_match(cls, match: re.Match[str]) -> Self:
        return cls(next(action for action in _LABELS if action == match["action"]), match["run"])

    async def act(self, interaction: Interaction, client: ServiceClient) -> None:
        match self._action:
            case "cancel":
                await cancel_run(interaction, client.service, self._run, client.team_role)
            case "download":
                await send_links(interaction, client.service, self._run)
            case "resume":
                await resume_run(interaction, client.service, client.show_run, self._run)
            case "retry":
                await try_again(interaction, client.service, client.show_run, self._run)


def run_buttons(view: RunView) -> discord.ui.View:
    """Return the buttons for what can be done with the run now."""
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
