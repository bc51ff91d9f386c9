"""From the bot's own cards to Discord's embeds."""

import discord

from bot.messages.card import Card


def to_embed(card: Card) -> discord.Embed:
    """Return the card as an embed."""
    embed = discord.Embed(
        title=card.title, description=card.description, colour=discord.Colour(card.colour)
    )
    for field in card.fields:
        embed.add_field(name=field.name, value=field.value, inline=field.inline)
    if card.footer:
        embed.set_footer(text=card.footer)
    if card.image:
        embed.set_image(url=card.image)
    return embed
