"""Cards drawn with Discord's newer components. All texts of a card share one length limit."""

from dataclasses import dataclass
from typing import ClassVar

from bot.messages.card import Card

TEXTS_LIMIT = 4000
# How much of the limit is reserved for the markup of title, footer and up to 25 fields.
_MARKUP = 160


@dataclass(frozen=True, slots=True)
class Panel(Card):
    """A card drawn with components: all fields are stacked, and `image` is not shown.

    Unlike an embed's footer, its footer renders timestamps such as `<t:1:R>`.
    """

    _limit: ClassVar[int] = TEXTS_LIMIT - _MARKUP

    @property
    def blocks(self) -> tuple[str, ...]:
        """Return the markdown of each part but the footer, in reading order."""
        head = f"### {self.title}\n{self.description}".rstrip()
        return (head, *(f"**{field.name}**\n{field.value}" for field in self.fields))

    @property
    def small(self) -> str:
        """Return the markdown of the footer, which comes below a picture; "" if there is none."""
        return f"-# {self.footer}" if self.footer else ""
