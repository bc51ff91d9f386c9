"""The content of a message, kept within Discord's limits for an embed."""

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import ClassVar

from bot.messages.markdown import ELLIPSIS, cut, length

TITLE_LIMIT = 256
DESCRIPTION_LIMIT = 4096
FIELDS_LIMIT = 25
NAME_LIMIT = 256
VALUE_LIMIT = 1024
FOOTER_LIMIT = 2048
TOTAL_LIMIT = 6000

# Discord refuses a field whose name or value is empty.
_EMPTY = "\u200b"
_LEAST_VALUE = 16
_MORE = f"\n{ELLIPSIS}"


class Colour(IntEnum):
    """The colour of a card's edge."""

    NEUTRAL = 0x80848E
    ACTIVE = 0x3B82F6
    GOOD = 0x23A55A
    WARNING = 0xF0B232
    BAD = 0xDA373C


@dataclass(frozen=True, slots=True)
class Field:
    """A titled paragraph; inline fields share a row."""

    name: str
    value: str
    inline: bool = False


@dataclass(frozen=True, slots=True)
class Card:
    """The content of one message, cut to fit Discord's limits; the last fields are cut first.

    Attributes:
        image: URL of a picture, or `attachment://name` for a file attached to the message.
    """

    _limit: ClassVar[int] = TOTAL_LIMIT

    title: str
    description: str = ""
    colour: int = Colour.NEUTRAL
    fields: tuple[Field, ...] = ()
    footer: str = ""
    image: str | None = None

    def __post_init__(self) -> None:
        title, footer = cut(self.title, TITLE_LIMIT), cut(self.footer, FOOTER_LIMIT)
        room = self._limit - length(title) - length(footer)
        description = cut(self.description, min(DESCRIPTION_LIMIT, room))
        fields = _fit(self.fields, room - length(description))
        cut_down = {"title": title, "footer": footer, "description": description, "fields": fields}
        for name, value in cut_down.items():
            object.__setattr__(self, name, value)  # the class is frozen

    @property
    def text(self) -> str:
        """Return all texts of the card, in reading order."""
        fields = (part for field in self.fields for part in (field.name, field.value))
        parts = (self.title, self.description, *fields, self.footer)
        return "\n".join(part for part in parts if part)


def _fit(fields: tuple[Field, ...], room: int) -> tuple[Field, ...]:
    kept: list[Field] = []
    for field in fields[:FIELDS_LIMIT]:
        name = cut(field.name if field.name.strip() else _EMPTY, NAME_LIMIT)
        value = cut(field.value if field.value.strip() else _EMPTY, VALUE_LIMIT)
        left = room - length(name)
        if left < min(length(value), _LEAST_VALUE):
            break
        value = cut(value, left)
        kept.append(replace(field, name=name, value=value))
        room = left - length(value)
    if kept and len(kept) < len(fields):
        kept[-1] = _with_more(kept[-1])
    return tuple(kept)


def _with_more(field: Field) -> Field:
    """Mark the last field that fits, to show that others were left out."""
    if field.value.endswith(ELLIPSIS) or length(field.value) < _LEAST_VALUE:
        return field
    return replace(field, value=cut(field.value, length(field.value) - len(_MORE)) + _MORE)
