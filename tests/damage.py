"""Damage to files: gone, cut off, or with one bit flipped."""

from collections.abc import Callable, Mapping
from pathlib import Path


def remove(path: Path) -> None:
    path.unlink()


def cut_off(path: Path) -> None:
    """Remove the end, which may be a newline that means nothing."""
    path.write_bytes(path.read_bytes()[:-2])


def flip_a_bit(path: Path, at: int = -1) -> None:
    """Change one byte; by default the last one."""
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def empty(path: Path) -> None:
    path.write_bytes(b"")


DAMAGE: Mapping[str, Callable[[Path], None]] = {
    "gone": remove,
    "cut off": cut_off,
    "altered": flip_a_bit,
}
