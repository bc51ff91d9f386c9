"""The list of runs, one page at a time, and the buttons that turn the pages."""

import re
from typing import Self

import discord

from bot.discord.answers.answers import Interaction, guild_of, to_embed
from bot.discord.buttons.named_button import NamedButton, ServiceClient
from bot.messages.card import Card
from bot.messages.runs.answers import runs_card
from bot.service.run_lists import PAGE
from bot.service.service import Service
from bot.service.threads import in_thread
from training.ports import EVERY_RUN, RunFilter


class RunPageButton(
    NamedButton,
    template=r"runs:(?P<page>\d{1,6}):(?P<whose>mine|all):(?P<state>[a-z]*):(?P<model>[\w.-]*)",
):
    """Replaces the list with another page of it. The id holds the page and the filter."""

    is_in_place = True

    def __init__(
        self, label: str, page: int, only: RunFilter, whose: str, *, is_off: bool = False
    ) -> None:
        custom_id = f"runs:{page}:{whose}:{only.state or ''}:{only.model or ''}"
        super().__init__(label, discord.ButtonStyle.secondary, custom_id, is_off=is_off)
        self._page, self._only, self._whose = page, only, whose

    @classmethod
    def from_match(cls, match: re.Match[str]) -> Self:
        only = RunFilter(model=match["model"] or None, state=match["state"] or None)
        return cls("", int(match["page"]), only, match["whose"])

    async def act(self, interaction: Interaction, client: ServiceClient) -> None:
        owner = str(interaction.user.id) if self._whose == "mine" else None
        only = RunFilter(model=self._only.model, state=self._only.state, requested_by=owner)
        card, view = await runs_page(client.service, guild_of(interaction), only, self._page)
        await interaction.edit_original_response(embed=to_embed(card), view=view)


async def runs_page(
    service: Service, guild: str, only: RunFilter, number: int
) -> tuple[Card, discord.ui.View | None]:
    """Return a page of the list of runs, and its buttons; None if there is only one page."""
    page = await service.run_lists.newest(guild, only=only, skip=(number - 1) * PAGE)
    removals = None
    if only == EVERY_RUN and not page.skipped:
        removals = await in_thread(service.installation.restores.removals, guild, "runs")
    card = runs_card(page, removals, only=only, most=PAGE)
    if page.total <= PAGE:
        return card, None
    whose = "all" if only.requested_by is None else "mine"
    shown, view = page.skipped // PAGE + 1, discord.ui.View(timeout=None)
    is_last = page.skipped + PAGE >= page.total
    view.add_item(RunPageButton("Previous", shown - 1, only, whose, is_off=shown == 1))
    view.add_item(RunPageButton("Next", shown + 1, only, whose, is_off=is_last))
    return card, view
