"""Messages about datasets: card, contact sheet, report file, and buttons."""

import io
import re
from functools import partial
from typing import Self

import discord

from bot.discord.answers.answers import Interaction, guild_of, person_of, to_embed
from bot.discord.answers.long_answer import LongAnswer
from bot.discord.buttons.named_button import NamedButton, ServiceClient
from bot.discord.buttons.seals import SEALED, require_own, sealed
from bot.discord.buttons.train import TrainButton
from bot.discord.buttons.trash import UndoButton
from bot.messages.datasets.actions import LABELS, PRIVATE, DatasetAction, action_named
from bot.service.answer_files import AnswerFile
from bot.service.dataset_answers import DatasetAnswer, perform


class DatasetButton(
    NamedButton,
    template=rf"ds:(?P<action>{'|'.join(LABELS)}):{SEALED}",
):
    """A button that acts on the dataset version or checked upload named in its id."""

    def __init__(self, action: DatasetAction, about: str, seal: str) -> None:
        label, style = LABELS[action]
        super().__init__(label, discord.ButtonStyle[style], f"ds:{action}:{about}:{seal}")
        self._action: DatasetAction = action
        self._about, self._seal = about, seal
        self.is_private = action in PRIVATE

    @classmethod
    def from_match(cls, match: re.Match[str]) -> Self:
        action = action_named(match["action"])
        if action is None:
            raise ValueError(f"there is no button {match['action']!r}")
        return cls(action, match["about"], match["seal"])

    async def act(self, interaction: Interaction, client: ServiceClient) -> None:
        person = person_of(interaction)
        require_own(person.guild, self._about, self._seal)
        service = client.service
        make_link = partial(service.captions.link, channel=str(interaction.channel_id))
        done = await perform(service.datasets, self._action, person, self._about, make_link)
        await send_answer(LongAnswer(interaction), person.guild, done)


def dataset_buttons(guild: str, shown: DatasetAnswer) -> discord.ui.View:
    """Return a view with the link to a page, Train, a button for each action, and Undo."""
    view = discord.ui.View(timeout=None)
    if shown.link is not None:
        view.add_item(discord.ui.Button(label=shown.link.label, url=shown.link.url))
    if shown.trainable:
        view.add_item(TrainButton(shown.trainable, sealed(guild, shown.trainable)))
    for action in shown.actions:
        view.add_item(DatasetButton(action, shown.about, sealed(guild, shown.about)))
    if shown.undoes is not None:
        view.add_item(UndoButton(shown.undoes.kind, shown.undoes.id))
    return view


def discord_files(files: tuple[AnswerFile, ...]) -> list[discord.File]:
    """Return an answer's files as attachments."""
    return [
        discord.File(io.BytesIO(file.data), filename=file.name, description=file.alt or None)
        for file in files
    ]


async def send_answer(long: LongAnswer, guild: str, shown: DatasetAnswer) -> None:
    """Send a dataset's card with its files and buttons."""
    view = dataset_buttons(guild, shown)
    await long.send(shown.card, discord_files(shown.files), view)


async def send_privately(interaction: Interaction, shown: DatasetAnswer) -> None:
    """Send a dataset's card as an additional message that only the user sees."""
    await interaction.followup.send(
        embed=to_embed(shown.card),
        files=discord_files(shown.files),
        view=dataset_buttons(guild_of(interaction), shown),
        ephemeral=True,
    )
