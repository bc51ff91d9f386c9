"""Proposals of captions in chat, and the Start button below their price."""

import re
from typing import Self

import discord

from bot.discord.answers.answers import Interaction, answer, person_of
from bot.discord.answers.long_answer import LongAnswer
from bot.discord.buttons.datasets import send_answer
from bot.discord.buttons.named_button import NamedButton, ServiceClient
from bot.discord.buttons.seals import SEALED, require_own, sealed
from bot.messages.datasets.cards import PROPOSING
from bot.messages.datasets.proposals import asked_card, made_card
from bot.service.dataset_answers import DatasetAnswer
from bot.service.proposals import ProposalPlan
from bot.service.service import Service
from training.captioning.propose import Which
from training.captioning.templates import LORA_KINDS, LoraKind


class ProposalsButton(
    NamedButton,
    template=rf"cap:(?P<which>missing|all):(?P<kind>{'|'.join(LORA_KINDS)}):{SEALED}",
):
    """Starts what the message above it describes; progress and result replace the message."""

    is_in_place = True

    def __init__(self, which: Which, kind: LoraKind, about: str, seal: str) -> None:
        custom_id = f"cap:{which}:{kind}:{about}:{seal}"
        super().__init__("Start", discord.ButtonStyle.success, custom_id)
        self._which: Which = which
        self._kind: LoraKind = kind
        self._about, self._seal = about, seal

    @classmethod
    def from_match(cls, match: re.Match[str]) -> Self:
        which: Which = "all" if match["which"] == "all" else "missing"
        kind: LoraKind = next(kind for kind in LORA_KINDS if kind == match["kind"])
        return cls(which, kind, match["about"], match["seal"])

    async def act(self, interaction: Interaction, client: ServiceClient) -> None:
        person, service = person_of(interaction), client.service
        require_own(person.guild, self._about, self._seal)
        plan = await service.proposals.plan(person, self._about, self._which, self._kind)
        await _propose(interaction, service, plan, is_button=True)


async def answer_proposals(interaction: Interaction, service: Service, plan: ProposalPlan) -> None:
    """Propose captions at once if that costs nothing, or else show the price and a button."""
    if not plan.captioner.asks_first:
        await _propose(interaction, service, plan)
        return
    about = str(plan.version.ref)
    guild = person_of(interaction).guild
    view = discord.ui.View(timeout=None)
    view.add_item(ProposalsButton(plan.which, plan.kind, about, sealed(guild, about)))
    card = asked_card(
        plan.version, plan.kind, plan.captioner, samples=plan.samples, frames=plan.frames
    )
    await answer(interaction, card, ephemeral=False, view=view)


async def _propose(
    interaction: Interaction, service: Service, plan: ProposalPlan, *, is_button: bool = False
) -> None:
    person = person_of(interaction)
    async with LongAnswer(interaction, text=PROPOSING) as long:
        if is_button:
            await long.begin()
        made = await service.proposals.propose(person, plan, long.on_progress)
        about = str(made.version.ref)
        shown = DatasetAnswer(card=made_card(made), about=about, actions=("captions",))
        await send_answer(long, person.guild, shown)
