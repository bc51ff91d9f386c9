"""Draws a panel with Discord's Components V2.

A message that was sent with components can never go back to plain content or embeds, and it shows
only the attached files that one of its components refers to.
"""

import io
from collections.abc import Sequence
from typing import Any

import discord

from bot.messages.markdown import cut
from bot.messages.panel import Panel
from bot.messages.picture import Picture

_ROW = 5  # the most buttons per row
_LONGEST_ALT = 1024  # Discord's limit for a picture's description, in characters


def to_layout(
    panel: Panel,
    buttons: Sequence[discord.ui.Item[Any]] = (),
    *,
    above: str = "",
    picture: Picture | None = None,
    files: Sequence[discord.File] = (),
) -> discord.ui.LayoutView:
    """Return a view that shows the panel.

    Args:
        panel: What to show.
        buttons: Shown below the texts and the picture, five to a row.
        above: A text before the panel, such as mentions.
        picture: Shown above the panel's footer; the message must also attach `picture_file`.
        files: The message's other files, shown below the panel.
    """
    layout = discord.ui.LayoutView(timeout=None)
    if above:
        layout.add_item(discord.ui.TextDisplay[discord.ui.LayoutView](above))
    layout.add_item(_container(panel, buttons, picture))
    for file in files:
        layout.add_item(discord.ui.File[discord.ui.LayoutView](file))
    return layout


def picture_file(picture: Picture | None) -> list[discord.File]:
    """Return the picture's file, to attach to the message; [] if there is no picture."""
    if picture is None:
        return []
    return [discord.File(io.BytesIO(picture.data), filename=picture.name)]


def _container(
    panel: Panel, buttons: Sequence[discord.ui.Item[Any]], picture: Picture | None
) -> discord.ui.Container[discord.ui.LayoutView]:
    box = discord.ui.Container[discord.ui.LayoutView](accent_colour=discord.Colour(panel.colour))
    for block in panel.blocks:
        box.add_item(discord.ui.TextDisplay[discord.ui.LayoutView](block))
    if picture is not None:
        alt = cut(picture.alt, _LONGEST_ALT)
        shown = discord.MediaGalleryItem(f"attachment://{picture.name}", description=alt)
        box.add_item(discord.ui.MediaGallery[discord.ui.LayoutView](shown))
    if panel.small:
        box.add_item(discord.ui.TextDisplay[discord.ui.LayoutView](panel.small))
    for first in range(0, len(buttons), _ROW):
        row = discord.ui.ActionRow[discord.ui.LayoutView]()
        for button in buttons[first : first + _ROW]:
            row.add_item(button)
        box.add_item(row)
    return box
