"""A picture that is attached to a message."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture, and its content in words for people who cannot see it."""

    name: str
    data: bytes
    alt: str
