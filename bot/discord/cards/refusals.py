"""What an error from Discord means for a channel or a message."""

from datetime import timedelta

import aiohttp
import discord

# If a channel refuses the announcement of a run's end for this long, announce it elsewhere.
_LONGEST_REFUSAL = timedelta(days=1)

_UNKNOWN_CHANNEL, _UNKNOWN_MESSAGE = 10003, 10008
# Discord may answer with the code for archived threads if a thread is locked but not archived.
_ARCHIVED, _LOCKED = 50083, 160005


def is_channel_gone(error: Exception) -> bool:
    """Return whether the channel was deleted; False if the bot only lacks access to it."""
    return isinstance(error, discord.HTTPException) and error.code == _UNKNOWN_CHANNEL


def is_message_gone(error: Exception) -> bool:
    return isinstance(error, discord.HTTPException) and error.code == _UNKNOWN_MESSAGE


def is_archived(error: Exception) -> bool:
    """Return whether the thread is archived or locked."""
    return isinstance(error, discord.HTTPException) and error.code in (_ARCHIVED, _LOCKED)


def is_lasting(error: Exception, refused_for: timedelta) -> bool:
    """Return whether a channel is gone, archived or locked, or has refused the bot for a day."""
    if is_channel_gone(error) or is_archived(error):
        return True
    return isinstance(error, discord.Forbidden) and refused_for > _LONGEST_REFUSAL


def is_about_channel(error: Exception) -> bool:
    """Return whether other requests to the channel would fail too, for example in an outage."""
    if isinstance(error, discord.HTTPException):
        return error.status in (401, 403, 404, 429) or error.status >= 500 or is_archived(error)
    return isinstance(error, aiohttp.ClientError | TimeoutError)


def is_passing(error: Exception) -> bool:
    """Return whether the error is an outage or a rate limit, so that a retry may soon succeed."""
    if isinstance(error, discord.HTTPException):
        return error.status == 429 or error.status >= 500
    return isinstance(error, aiohttp.ClientError | OSError)
