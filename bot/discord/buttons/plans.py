"""The buttons below a plan that needs confirmation, and the dialog that changes its settings."""

import re
from typing import Literal, Self

import discord

from bot.discord.answers.answers import (
    Interaction,
    answer,
    answer_error,
    person_of,
    requester_of,
    to_embed,
)
from bot.discord.buttons.named_button import NamedButton, ServiceClient
from bot.discord.copies.interaction_claims import Claimed
from bot.messages.card import Card
from bot.messages.options import in_chat
from bot.messages.runs.plan import asked_card, dismissed_card, started_card
from bot.messages.runs.plan_costs import single_frames_text
from bot.service.plans import ShownPlan
from training.errors import RequestError, TrainingError
from training.operations.drafts import Draft

Action = Literal["start", "change", "clips", "dismiss"]
_LABELS: dict[Action, tuple[str, discord.ButtonStyle]] = {
    "start": ("Start", discord.ButtonStyle.success),
    "change": ("Change", discord.ButtonStyle.secondary),
    "clips": ("Train on clips only", discord.ButtonStyle.secondary),
    "dismiss": ("Dismiss", discord.ButtonStyle.secondary),
}
_LARGEST_TEXT = 4000  # Discord's limit for a text input, in characters


class PlanButton(
    NamedButton,
    template=r"plan:(?P<action>start|change|clips|dismiss):(?P<token>\d{1,20}):(?P<number>\d{1,6})",
):
    """Starts, changes or dismisses a plan. The result replaces the plan's message.

    `token` identifies the request that the plan was made for. `number` counts how often the plan
    was shown, so that a button on an outdated message is recognized.
    """

    is_in_place = True

    def __init__(self, action: Action, token: str, number: int) -> None:
        label, style = _LABELS[action]
        super().__init__(label, style, f"plan:{action}:{token}:{number}")
        self._action: Action = action
        self._token, self._number = token, number

    @classmethod
    def from_match(cls, match: re.Match[str]) -> Self:
        return cls(
            next(action for action in _LABELS if action == match["action"]),
            match["token"],
            int(match["number"]),
        )

    async def callback(self, interaction: discord.Interaction) -> None:
        if self._action != "change":
            await super().callback(interaction)
            return
        client = interaction.client
        if not isinstance(client, ServiceClient):
            raise TypeError("the button needs a ServiceClient")
        try:
            # A dialog must be the first answer, so nothing is deferred.
            text = await client.service.plans.settings_text(person_of(interaction), self._token)
            await interaction.response.send_modal(_SettingsDialog(client, self._token, text))
        except Exception as error:  # noqa: BLE001  # discord.py has no error hook for these items
            await answer_error(interaction, error)

    async def act(self, interaction: Interaction, client: ServiceClient) -> None:
        plans, person = client.service.plans, person_of(interaction)
        match self._action:
            case "start":
                shown = await plans.start(person, self._token, self._number)
            case "clips":
                shown = await plans.leave_out_single_frames(person, self._token)
            case "dismiss":
                shown = await plans.dismiss(person, self._token)
            case "change":
                raise ValueError("this button opens a dialog instead")
        await replace_with_plan(interaction, client, shown)


class ClipsButton(NamedButton, template=r"clips:(?P<run>[a-z0-9_-]{1,64})"):
    """Replaces a newly started run with one that leaves out single frames."""

    def __init__(self, run: str) -> None:
        label, style = _LABELS["clips"]
        super().__init__(label, style, f"clips:{run}")
        self._run = run

    @classmethod
    def from_match(cls, match: re.Match[str]) -> Self:
        return cls(match["run"])

    async def act(self, interaction: Interaction, client: ServiceClient) -> None:
        person = person_of(interaction)
        plan = await client.service.train_on_clips(person, self._run, requester_of(interaction))
        await answer(interaction, started_card(plan), ephemeral=True)
        await client.show_run(person.guild, plan.spec.name)


class _SettingsDialog(Claimed, discord.ui.Modal, title="Change the settings"):
    """A dialog for settings as TOML. If they are refused, the next dialog shows the same text."""

    text: discord.ui.Label[Self] = discord.ui.Label(
        text="Settings (TOML)",
        description="Settings for all experts come first; "
        "those for one expert go under [high] or [low].",
        component=discord.ui.TextInput[Self](
            style=discord.TextStyle.paragraph, required=False, max_length=_LARGEST_TEXT
        ),
    )

    def __init__(self, client: ServiceClient, token: str, text: str) -> None:
        super().__init__()
        self._client, self._token = client, token
        self._input.default = text[:_LARGEST_TEXT]

    @property
    def _input(self) -> discord.ui.TextInput[Self]:
        component = self.text.component
        if not isinstance(component, discord.ui.TextInput):
            raise TypeError("the dialog has one text input")
        return component

    async def on_submit(self, interaction: discord.Interaction, /) -> None:
        await interaction.response.defer()
        change = self._client.service.plans.change
        shown = await change(person_of(interaction), self._token, self._input.value)
        await replace_with_plan(interaction, self._client, shown)

    async def on_error(self, interaction: discord.Interaction, error: Exception, /) -> None:
        if isinstance(error, TrainingError):
            fix = f"{error.fix} Press Change again; what you typed is still there."
            error = RequestError(error.cause, fix, error.remedy)
        await answer_error(interaction, error)


async def answer_plan(interaction: Interaction, shown: ShownPlan) -> None:
    """Answer with the plan of a run that has started or needs confirmation."""
    card, view = _message(shown)
    await answer(interaction, card, ephemeral=True, view=view)


async def replace_with_plan(
    interaction: Interaction, client: ServiceClient, shown: ShownPlan | Draft
) -> None:
    """Replace the message of a button, menu or dialog with the resulting plan."""
    card, view = _message(shown)
    await interaction.edit_original_response(embed=to_embed(card), view=view)
    if isinstance(shown, ShownPlan) and shown.draft is None:
        await client.show_run(shown.plan.spec.guild, shown.plan.spec.name)


def _message(shown: ShownPlan | Draft) -> tuple[Card, discord.ui.View | None]:
    if isinstance(shown, Draft):
        return dismissed_card(shown), None
    plan, draft = shown.plan, shown.draft
    has_single_frames = plan.spec.dataset_toml is None and single_frames_text(plan, in_chat)
    view = discord.ui.View(timeout=None)
    if draft is None:
        if has_single_frames:
            view.add_item(ClipsButton(plan.spec.name))
        return started_card(plan), view if view.children else None
    actions: tuple[Action, ...] = ("start", "change", "clips", "dismiss")
    for action in actions:
        if action != "clips" or has_single_frames:
            view.add_item(PlanButton(action, draft.requester.token, draft.number))
    return asked_card(plan, draft.valid_until, shown.limit_usd, shown.notes), view
