"""What Modal's client raises, in the words that the ports promise."""

import errno
from collections.abc import Generator
from contextlib import contextmanager

import modal.exception
from grpclib.exceptions import StreamTerminatedError

# The client raises the last one as it is, when a connection ends in the middle of a call.
UNREACHABLE = (
    modal.exception.ConnectionError,
    modal.exception.InternalError,
    modal.exception.ServiceError,
    modal.exception.TimeoutError,
    StreamTerminatedError,
)


@contextmanager
def translated(key: str) -> Generator[None]:
    """Turn what the client raises about `key` into what a file system would.

    Raises:
        FileNotFoundError: Nothing is stored there.
        ConnectionError: Modal could not be reached, or did not answer; a later try may succeed.
        OSError: The Volume is full.
    """
    try:
        yield
    except modal.exception.NotFoundError as error:
        raise FileNotFoundError(errno.ENOENT, "nothing is stored here", key) from error
    except modal.exception.ResourceExhaustedError as error:
        raise OSError(errno.ENOSPC, "the Volume on Modal is full", key) from error
    except UNREACHABLE as error:
        raise ConnectionError(f"Modal did not answer about {key}: {error}") from error
