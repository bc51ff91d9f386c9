"""Translates errors of Modal's client into the errors that the ports document."""

import errno
import logging
import re
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TypeVar

import aiohttp
import modal.exception
from grpclib.exceptions import StreamTerminatedError
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    wait_exponential,
    wait_random,
)

from training.deployment.names import STAGES_SUFFIX
from training.errors import BackendError, RequestError, StartDelayedError
from training.ports import BusyError
from training.remedies import Deploy

# `StreamTerminatedError` is raised by the gRPC library when a connection breaks during a call.
ANY_FAILURE = (modal.exception.Error, StreamTerminatedError)
# Failures after which the same request may succeed a moment later.
UNREACHABLE = (
    modal.exception.ClientClosed,
    modal.exception.ConflictError,  # another request is changing the same object right now
    modal.exception.ConnectionError,
    modal.exception.DataLossError,
    modal.exception.InternalError,
    modal.exception.ServiceError,
    modal.exception.TimeoutError,
    StreamTerminatedError,
    # The contents of files travel over HTTP. If a transfer keeps failing for 2 s, the client
    # raises an `ExecutionError` (for an answer such as 500) or the error of its HTTP library.
    modal.exception.ExecutionError,
    aiohttp.ClientError,
    TimeoutError,
)
_REFUSED = (modal.exception.AuthError, modal.exception.PermissionDeniedError)

# Even in normal use, a Volume may refuse writes for a while: "too many layers in volume. Please
# wait and retry." The client does not retry these writes. A Volume is full only if the message
# says so.
BUSY_SECONDS = 300.0
_FULL = re.compile(r"\bfull\b|no space|storage limit|inode", re.IGNORECASE)
# The storage behind a Volume may ask callers to slow down too: HTTP statuses 429 and 503.
_SLOW_DOWN = re.compile(r"\bfailed with status (429|503)\b|^Service temporarily unavailable:")
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.25, 4.0
_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 1.0, 30.0
T = TypeVar("T")
logger = logging.getLogger(__name__)


def ask(
    key: str,
    call: Callable[[], T],
    *,
    missing: str = "nothing is stored here",
    patience_seconds: float = 0.0,
    busy_seconds: float = BUSY_SECONDS,
) -> T:
    """Call Modal about `key`; try again with growing pauses while it is busy or does not answer.

    Args:
        key: The key that the call is about, for error messages.
        call: The request to Modal; it is called once per try.
        missing: The text of the `FileNotFoundError`.
        patience_seconds: How long to try while Modal does not answer; the client itself tries for
            about a second.
        busy_seconds: How long to try while Modal asks callers to wait.

    Raises:
        FileNotFoundError: Nothing is stored there.
        PermissionError: Modal refuses the token.
        BusyError: Modal still asks callers to wait.
        ConnectionError: Modal could not be reached or did not answer; a retry may succeed.
        OSError: The Volume is full.
    """

    def is_enough(state: RetryCallState) -> bool:
        limit = busy_seconds if _is_busy(state) else patience_seconds
        return (state.seconds_since_start or 0.0) + state.upcoming_sleep >= limit

    for attempt in Retrying(
        retry=retry_if_exception_type(ConnectionError),
        stop=is_enough,
        wait=_pause,
        before_sleep=_log_pause,
        reraise=True,
    ):
        with attempt, _as_file_errors(key, missing):
            return call()
    raise AssertionError("retrying ends with a return or an error")


def _is_busy(state: RetryCallState) -> bool:
    return state.outcome is not None and isinstance(state.outcome.exception(), BusyError)


def _log_pause(state: RetryCallState) -> None:
    error = None if state.outcome is None else state.outcome.exception()
    logger.warning("%s; the next try is in %.1f s", error, state.upcoming_sleep)


_PAUSE = wait_exponential(_FIRST_PAUSE_SECONDS, max=_LONGEST_PAUSE_SECONDS)
# Pauses are random, so that callers that were refused together do not retry together.
_WAIT = wait_exponential(_FIRST_WAIT_SECONDS, max=_LONGEST_WAIT_SECONDS) + wait_random(0, 1)


def _pause(state: RetryCallState) -> float:
    return (_WAIT if _is_busy(state) else _PAUSE)(state)


@contextmanager
def _as_file_errors(key: str, missing: str) -> Generator[None]:
    """Turn errors that Modal's client raises in the body into `OSError`s about `key`.

    Raises:
        FileNotFoundError: Nothing is stored there; `missing` is its text.
        BusyError: Modal asks callers to wait.
        PermissionError: Modal refuses the token.
        ConnectionError: Modal could not be reached or did not answer; a retry may succeed.
        OSError: The Volume is full.
    """
    try:
        yield
    except modal.exception.NotFoundError as error:
        raise FileNotFoundError(errno.ENOENT, missing, key) from error
    except modal.exception.ResourceExhaustedError as error:
        if _FULL.search(str(error)):
            raise OSError(errno.ENOSPC, "the Volume on Modal is full", key) from error
        raise BusyError(f"Modal is busy and does not accept {key} yet: {error}") from error
    except _REFUSED as error:
        raise PermissionError(
            f"Modal refuses this installation's token: {error}."
            " Make a new one with `modal token new`."
        ) from error
    except UNREACHABLE as error:
        if _SLOW_DOWN.search(str(error)):
            raise BusyError(f"Modal is busy and does not transfer {key} yet: {error}") from error
        raise ConnectionError(f"Modal did not answer about {key}: {error!r}") from error


_SPEND_LIMIT = re.compile(r"spend limit|spending limit|billing cycle", re.IGNORECASE)
SPEND_LIMIT_REACHED = "The spend limit of the workspace on Modal is reached."
RAISE_SPEND_LIMIT = (
    "Raise the limit at modal.com/settings/usage, or wait for the next billing cycle."
)


def names_spend_limit(text: str) -> bool:
    """Return whether a message from Modal says that the workspace has reached its spend limit."""
    return _SPEND_LIMIT.search(text) is not None


def start_delayed(error: BaseException) -> StartDelayedError | None:
    """Return the error to raise if Modal refused a start because of the spend limit, else None."""
    is_refused = isinstance(error, modal.exception.ResourceExhaustedError)
    if not is_refused or not names_spend_limit(str(error)):
        return None
    return StartDelayedError(
        SPEND_LIMIT_REACHED,
        "Ask the operator to raise the limit at modal.com/settings/usage, or wait for the next "
        "billing cycle; the run then continues by itself.",
    )


@contextmanager
def as_start_errors(what: str, app: str, function: str, *, then: str = "") -> Generator[None]:
    """Turn refusals to start `function` of `app`, called in the body, into advice.

    Args:
        what: What cannot start, for the error's cause.
        app: The app on Modal.
        function: The function of the app.
        then: A sentence on what happens when the app is deployed, for the error's fix.

    Raises:
        BackendError: The function is not deployed.
        StartDelayedError: The spend limit is reached.
    """
    try:
        yield
    except modal.exception.NotFoundError as error:
        raise BackendError(
            f"{what} cannot start: the app {app} on Modal has no function {function}.",
            f"Ask the operator to deploy it, from the same version as the bot. {then}".rstrip(),
            Deploy(app=app.removesuffix(STAGES_SUFFIX)),
        ) from error
    except modal.exception.ResourceExhaustedError as error:
        if (delayed := start_delayed(error)) is not None:
            raise delayed from error
        raise


@contextmanager
def as_connection_errors() -> Generator[None]:
    """Turn every error that Modal's client raises in the body into a `ConnectionError`."""
    try:
        yield
    except ANY_FAILURE as error:
        raise ConnectionError(f"Modal did not answer: {error!r}") from error


@contextmanager
def as_operator_errors() -> Generator[None]:
    """Turn errors that Modal's client raises in the body into advice for an operator.

    Raises:
        RequestError: This machine has no valid token, or the token lacks the permission.
        BackendError: Modal does not answer, or the spend limit is reached.
    """
    try:
        yield
    except modal.exception.PermissionDeniedError as error:
        raise RequestError(
            f"Modal does not allow this with your token: {error}",
            "Ask the owner of the workspace, or use another token: `modal setup`.",
        ) from error
    except modal.exception.AuthError as error:
        reason = str(error).split(". ")[0].rstrip(".")
        raise RequestError(
            f"Modal does not accept this machine's token: {reason}.",
            "Run `modal setup`, or set MODAL_TOKEN_ID and MODAL_TOKEN_SECRET.",
        ) from error
    except modal.exception.InvalidError as error:
        raise RequestError(
            f"Modal rejects the request: {error}", "Check your settings with `modal profile list`."
        ) from error
    except ANY_FAILURE as error:
        if start_delayed(error) is not None:
            raise BackendError(
                SPEND_LIMIT_REACHED, f"{RAISE_SPEND_LIMIT} Then try again."
            ) from error
        raise BackendError(
            f"Modal does not answer: {error}",
            "Check status.modal.com and your network, then try again.",
        ) from error
