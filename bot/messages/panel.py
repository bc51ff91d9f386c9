"""Cards made of Discord's newer components, whose texts together must stay under one limit."""

from dataclasses import dataclass
from typing import ClassVar

from bot.messages.card import Card

TEXTS_LIMIT = 4000
# Part of the limit: characters reserved for the markup of title, footer and up to 25 fields.
_MARKUP = 160


@dataclass(frozen=True, slots=True)
class Panel(Card):
    """A card drawn with components: all fields are stacked, and `image` is not shown.

    Unlike an embed's footer, its footer renders timestamps such as `<t:1:R>`.
    """

    _limit: ClassVar[int] = TEXTS_LIMIT - _MARKUP

    @property
    def blocks(self) -> tuple[str, ...]:
        """Return the markdown of each part, in reading order."""
        head = f"### {self.title}\n{self.description}".rstrip()
        fields = (f"**{field.name}**\n{field.value}" for field in self.fields)
        small = f"-# {self.footer}" if self.footer else ""
        return tuple(filter(None, (head, *fields, small)))
