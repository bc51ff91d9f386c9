"""Errors of Modal's client, translated to those that the ports promise."""

import errno
from collections.abc import Generator
from contextlib import contextmanager

import modal.exception
from grpclib.exceptions import StreamTerminatedError

# The client lets the last one through when a connection breaks in the middle of a call.
ANY_FAILURE = (modal.exception.Error, StreamTerminatedError)
UNREACHABLE = (
    modal.exception.ConnectionError,
    modal.exception.InternalError,
    modal.exception.ServiceError,
    modal.exception.TimeoutError,
    StreamTerminatedError,
)
_REFUSED = (modal.exception.AuthError, modal.exception.PermissionDeniedError)


@contextmanager
def as_file_errors(key: str, *, missing: str = "nothing is stored here") -> Generator[None]:
    """Raise what a file system would raise about `key`.

    Raises:
        FileNotFoundError: Nothing is stored there; `missing` is its text.
        PermissionError: Modal refuses the token.
        ConnectionError: Modal could not be reached or did not answer; a retry may succeed.
        OSError: The Volume is full.
    """
    try:
        yield
    except modal.exception.NotFoundError as error:
        raise FileNotFoundError(errno.ENOENT, missing, key) from error
    except modal.exception.ResourceExhaustedError as error:
        raise OSError(errno.ENOSPC, "the Volume on Modal is full", key) from error
    except _REFUSED as error:
        raise PermissionError(
            f"Modal refuses this installation's token: {error}."
            " Make a new one with `modal token new`."
        ) from error
    except UNREACHABLE as error:
        raise ConnectionError(f"Modal did not answer about {key}: {error!r}") from error


@contextmanager
def as_connection_errors() -> Generator[None]:
    """Raise `ConnectionError` for every failure of the client: a later call may succeed."""
    try:
        yield
    except ANY_FAILURE as error:
        raise ConnectionError(f"Modal did not answer: {error!r}") from error
