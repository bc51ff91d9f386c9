"""An outage of Discord is one line in the log; a bug keeps its traceback."""

import logging
from unittest.mock import Mock

import aiohttp
import discord
import pytest

from bot.discord.outage_log import log_outages_in_one_line

RECONNECTING, SUGGESTING = "discord.client", "discord.app_commands.tree"


def refused(kind: type[discord.HTTPException], status: int, code: int) -> discord.HTTPException:
    return kind(Mock(status=status, reason="refused"), {"code": code, "message": "refused"})


def logged(caplog: pytest.LogCaptureFixture, name: str, error: Exception) -> logging.LogRecord:
    log_outages_in_one_line()
    logging.getLogger(name).error("Ignoring exception in %s", "train", exc_info=error)
    (record,) = caplog.records
    return record


@pytest.mark.parametrize(
    ("name", "error"),
    [
        (RECONNECTING, refused(discord.DiscordServerError, 503, 0)),
        (RECONNECTING, aiohttp.ClientConnectionError("refused")),
        (RECONNECTING, TimeoutError("refused")),
        (SUGGESTING, refused(discord.DiscordServerError, 503, 0)),
        (SUGGESTING, refused(discord.NotFound, 404, 10062)),
        (SUGGESTING, ConnectionResetError("refused")),
    ],
)
def test_an_outage_is_one_line(
    caplog: pytest.LogCaptureFixture, name: str, error: Exception
) -> None:
    record = logged(caplog, name, error)

    assert record.levelno == logging.WARNING
    assert record.exc_info is None
    assert record.getMessage() == f"Ignoring exception in train: {error}"


@pytest.mark.parametrize(
    ("name", "error"),
    [
        (RECONNECTING, refused(discord.Forbidden, 403, 50001)),
        (RECONNECTING, KeyError("x")),
        (SUGGESTING, refused(discord.NotFound, 404, 10003)),
        (SUGGESTING, PermissionError("the bot's own disk")),
        (SUGGESTING, KeyError("x")),
    ],
)
def test_everything_else_keeps_its_traceback(
    caplog: pytest.LogCaptureFixture, name: str, error: Exception
) -> None:
    record = logged(caplog, name, error)

    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert record.exc_info[1] is error
