"""The Train button of a dataset, and the menu of models that it may show first."""

import re
from typing import Self

import discord

from bot.discord.answers.answers import Interaction, answer, guild_of, requester_of
from bot.discord.buttons.named_button import NamedButton, NamedMenu, ServiceClient
from bot.discord.buttons.plans import answer_plan, replace_with_plan
from bot.discord.buttons.seals import SEALED, require_own
from bot.messages.runs.plan import model_question
from training.catalogue.models import Model
from training.runs.spec import TrainRequest

_DESCRIPTION_LIMIT = 100  # Discord's limit for an option of a menu, in characters


class TrainButton(NamedButton, template=rf"train:{SEALED}"):
    """Shows the plan of a run on a dataset version; asks for the model if several suit it."""

    def __init__(self, dataset: str, seal: str) -> None:
        super().__init__("Train", discord.ButtonStyle.success, f"train:{dataset}:{seal}")
        self._dataset, self._seal = dataset, seal

    @classmethod
    def from_match(cls, match: re.Match[str]) -> Self:
        return cls(match["about"], match["seal"])

    async def act(self, interaction: Interaction, client: ServiceClient) -> None:
        guild, dataset = guild_of(interaction), self._dataset
        require_own(guild, dataset, self._seal)
        models = await client.service.plans.models_for(guild, dataset)
        if len(models) == 1:
            request = TrainRequest(model=models[0].name, dataset=dataset)
            plan = await client.service.plans.show(request, requester_of(interaction))
            await answer_plan(interaction, plan)
            return
        view = discord.ui.View(timeout=None)
        view.add_item(ModelMenu(dataset, models))
        await answer(interaction, model_question(dataset), ephemeral=True, view=view)


class ModelMenu(NamedMenu, template=r"train-model:(?P<dataset>[a-z0-9_-]{1,64}@\d{1,6})"):
    """Asks for the model to train; the plan replaces the menu's message."""

    is_in_place = True

    def __init__(self, dataset: str, models: tuple[Model, ...]) -> None:
        options = [
            discord.SelectOption(
                label=model.name, value=model.name, description=model.use_case[:_DESCRIPTION_LIMIT]
            )
            for model in models
        ]
        super().__init__("Model to train", options, f"train-model:{dataset}")
        self._dataset = dataset

    @classmethod
    def from_match(cls, match: re.Match[str]) -> Self:
        return cls(match["dataset"], ())

    async def act(self, interaction: Interaction, client: ServiceClient) -> None:
        request = TrainRequest(model=self.picked, dataset=self._dataset)
        plan = await client.service.plans.show(request, requester_of(interaction))
        await replace_with_plan(interaction, client, plan)
