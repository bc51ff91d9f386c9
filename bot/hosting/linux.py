"""Raises an error if something that needs Linux, such as local training, runs elsewhere."""

import sys

from training.errors import RequestError


def require_linux(what: str) -> None:
    """Raise an error unless this is Linux; WSL on Windows counts as Linux.

    Raises:
        RequestError: This is another operating system.
    """
    if sys.platform != "linux":
        raise RequestError(
            f"{what} needs Linux.",
            "On Windows, run it in WSL (wsl --install); on a Mac, use a Linux machine. Training on "
            "Modal works from every system: add --backend modal.",
        )
