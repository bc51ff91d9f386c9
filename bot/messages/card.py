"""A card: what a message shows, within Discord's limits for an embed by construction."""

from dataclasses import dataclass, replace
from enum import IntEnum

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
    """The edge of a card says at a glance how things stand."""

    NEUTRAL = 0x80848E
    ACTIVE = 0x3B82F6
    GOOD = 0x23A55A
    WARNING = 0xF0B232
    BAD = 0xDA373C


@dataclass(frozen=True, slots=True)
class Field:
    """One titled paragraph; inline ones stand side by side."""

    name: str
    value: str
    inline: bool = False


@dataclass(frozen=True, slots=True)
class Card:
    """What one message shows; longer content is cut between its marks, the last fields first.

    Attributes:
        image: Address of a picture; `attachment://name` is a file of the same message.
    """

    title: str
    description: str = ""
    colour: int = Colour.NEUTRAL
    fields: tuple[Field, ...] = ()
    footer: str = ""
    image: str | None = None

    def __post_init__(self) -> None:
        title, footer = cut(self.title, TITLE_LIMIT), cut(self.footer, FOOTER_LIMIT)
        room = TOTAL_LIMIT - length(title) - length(footer)
        description = cut(self.description, min(DESCRIPTION_LIMIT, room))
        fields = _fit(self.fields, room - length(description))
        # Frozen: what fits is set here once, so that no card breaks a limit.
        for name, value in (
            ("title", title),
            ("footer", footer),
            ("description", description),
            ("fields", fields),
        ):
            object.__setattr__(self, name, value)

    def with_image(self, address: str) -> "Card":
        """Return the card with a picture."""
        return replace(self, image=address)

    @property
    def text(self) -> str:
        """Return all that the card says, in reading order."""
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
    """Return the last field that fits, with a sign that others do not."""
    if field.value.endswith(ELLIPSIS) or length(field.value) < _LEAST_VALUE:
        return field
    return replace(field, value=cut(field.value, length(field.value) - len(_MORE)) + _MORE)
