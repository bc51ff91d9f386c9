"""Shortens discord.py's log entries about outages from a traceback to one line."""

import logging
from collections.abc import Callable

import aiohttp
import discord

from bot.discord.answers.lost_connections import is_outage

_UNKNOWN_INTERACTION = 10062  # the answer came more than 3 s after the interaction


def _is_unreachable(error: BaseException) -> bool:
    return is_outage(error) or isinstance(error, aiohttp.ClientError | OSError)


def _is_late(error: BaseException) -> bool:
    is_unknown = isinstance(error, discord.NotFound) and error.code == _UNKNOWN_INTERACTION
    return is_unknown or is_outage(error)


class _OneLine(logging.Filter):
    def __init__(self, is_expected: Callable[[BaseException], bool]) -> None:
        super().__init__()
        self._is_expected = is_expected

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and self._is_expected(error):
            record.msg, record.args = "%s: %s", (record.getMessage(), error)
            record.exc_info = None
            record.levelno, record.levelname = logging.WARNING, "WARNING"
        return True


_FILTERS = {
    "discord.client": _OneLine(_is_unreachable),  # failed reconnections
    "discord.app_commands.tree": _OneLine(_is_late),  # suggestions that could not be sent
}


def log_outages_in_one_line() -> None:
    """Make discord.py log each outage in one line. Calling this twice is harmless."""
    for name, one_line in _FILTERS.items():
        logging.getLogger(name).addFilter(one_line)
