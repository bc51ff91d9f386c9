"""The answer to `/help`, and the buttons that show its steps."""

import re
from typing import Self

import discord

from bot.discord.answers.answers import Interaction, guild_of, to_embed
from bot.discord.buttons.named_button import NamedButton, ServiceClient
from bot.discord.buttons.runs import RunButton
from bot.messages.card import Card
from bot.messages.help import LABELS, HelpStep, Known, help_card
from bot.service.service import Service
from bot.service.threads import in_thread
from training.ports import RunFilter


class HelpButton(NamedButton, template=rf"help:(?P<step>{'|'.join(LABELS)})"):
    """Replaces the card of `/help` with the card of the button's step."""

    is_in_place = True

    def __init__(self, step: HelpStep, *, is_off: bool = False) -> None:
        style = discord.ButtonStyle.secondary if step == "start" else discord.ButtonStyle.primary
        super().__init__(LABELS[step], style, f"help:{step}", is_off=is_off)
        self._step: HelpStep = step

    @classmethod
    def from_match(cls, match: re.Match[str]) -> Self:
        return cls(next(step for step in LABELS if step == match["step"]))

    async def act(self, interaction: Interaction, client: ServiceClient) -> None:
        card, view = await help_answer(interaction, client.service, self._step)
        await interaction.edit_original_response(embed=to_embed(card), view=view)


async def help_answer(
    interaction: Interaction, service: Service, step: HelpStep
) -> tuple[Card, discord.ui.View]:
    """Return one step of `/help` and its buttons."""
    guild, view = guild_of(interaction), discord.ui.View(timeout=None)
    for other in LABELS:
        if other != "start" or step != "start":
            view.add_item(HelpButton(other, is_off=other == step))
    if step == "start":
        return help_card(step, Known()), view
    versions, _ = await in_thread(service.installation.datasets.newest, guild)
    dataset = max(versions, key=lambda version: version.added_at, default=None)
    mine = RunFilter(requested_by=str(interaction.user.id))
    run = next(iter((await service.run_lists.newest(guild, 1, only=mine)).runs), None)
    if step == "download" and run and any(expert.checkpoints for expert in run.experts):
        view.add_item(RunButton("download", run.name))
    known = Known(
        dataset=dataset.name if dataset else None,
        run=run.name if run else None,
        is_rehearsal=service.plans.engine == "rehearsal",
    )
    return help_card(step, known), view
