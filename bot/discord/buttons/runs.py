"""The buttons on a run's card."""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Literal, Self

import discord

from bot.discord.answers.answers import Interaction, answer, guild_of, requester_of
from bot.discord.answers.run_actions import (
    cancel_run,
    finish_run,
    resume_run,
    save_run,
    send_logs,
    try_again,
)
from bot.discord.buttons.downloads import send_links
from bot.discord.buttons.named_button import NamedButton, ServiceClient
from bot.discord.buttons.plans import answer_plan
from bot.messages.remedies import retry_label
from bot.messages.runs.details import details_card
from bot.service.service import Service
from bot.service.threads import in_thread
from training.operations.asked_saves import can_finish, can_save
from training.pipeline.log_tail import PRINTING
from training.pipeline.run_view import RunView
from training.runs.state import RunStatus

Action = Literal[
    "details", "log", "save", "finish", "cancel", "download", "resume", "retry", "again"
]
_LABELS: dict[Action, tuple[str, discord.ButtonStyle]] = {
    "details": ("Details", discord.ButtonStyle.secondary),
    "log": ("Log", discord.ButtonStyle.secondary),
    "save": ("Save now", discord.ButtonStyle.secondary),
    "finish": ("Stop here, keep all", discord.ButtonStyle.secondary),
    "cancel": ("Cancel", discord.ButtonStyle.danger),
    "download": ("Download", discord.ButtonStyle.primary),
    "resume": ("Resume", discord.ButtonStyle.secondary),
    "retry": ("Try again with a change", discord.ButtonStyle.success),
    "again": ("Train again", discord.ButtonStyle.secondary),
}


class RunButton(
    NamedButton,
    template=rf"(?P<action>{'|'.join(_LABELS)}):(?P<run>[a-z0-9_-]{{1,64}})",
):
    """A button that acts on the run named in its id."""

    def __init__(
        self, action: Action, run: str, label: str | None = None, *, is_off: bool = False
    ) -> None:
        usual, style = _LABELS[action]
        super().__init__(label or usual, style, f"{action}:{run}", is_off=is_off)
        self._action: Action = action
        self._run = run

    @classmethod
    def from_match(cls, match: re.Match[str]) -> Self:
        return cls(next(action for action in _LABELS if action == match["action"]), match["run"])

    async def act(self, interaction: Interaction, client: ServiceClient) -> None:
        match self._action:
            case "resume":
                await resume_run(interaction, client.service, client.show_run, self._run)
            case "retry":
                await try_again(interaction, client.service, client.show_run, self._run)
            case "again":
                requester = requester_of(interaction)
                shown = await client.service.plans.show_again(self._run, requester)
                await answer_plan(interaction, shown)
            case _:
                await _ACTS[self._action](interaction, client.service, self._run)


async def _show_details(interaction: Interaction, service: Service, run: str) -> None:
    view = await in_thread(service.installation.runs.view, guild_of(interaction), run)
    await answer(interaction, details_card(view), ephemeral=True)


_ACTS: Mapping[Action, Callable[[Interaction, Service, str], Awaitable[None]]] = {
    "details": _show_details,
    "log": send_logs,
    "save": save_run,
    "finish": finish_run,
    "cancel": cancel_run,
    "download": send_links,
}


def run_buttons(view: RunView) -> list[RunButton]:
    """Return the buttons for the actions that the run's state allows."""
    run, name = view.run, view.spec.name
    buttons = [RunButton("details", name)]
    if any(key.stage in PRINTING and run.stage(key).attempt for key in view.keys):
        buttons.append(RunButton("log", name))
    if not run.status.is_final:
        is_off = run.is_ending
        buttons.append(RunButton("save", name, is_off=is_off or not can_save(view)))
        buttons.append(RunButton("finish", name, is_off=is_off or not can_finish(view)))
        buttons.append(RunButton("cancel", name, is_off=run.is_cancelling or run.is_trained))
    if any(view.expert(expert.name).checkpoints for expert in view.spec.experts):
        buttons.append(RunButton("download", name))
    if run.status in (RunStatus.FAILED, RunStatus.CANCELLED):
        buttons.append(RunButton("resume", name))
    if run.suggestion is not None:
        buttons.append(RunButton("retry", name, retry_label(run.suggestion)))
    if run.status.is_final:
        buttons.append(RunButton("again", name))
    return buttons
