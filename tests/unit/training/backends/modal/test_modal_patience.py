"""Which errors of Modal are retried and how long, and which one means a full Volume."""

import errno

import aiohttp
import modal.exception
import pytest
from tenacity import wait_none

from training.backends.modal import errors
from training.backends.modal.errors import ask
from training.ports import BusyError

LAYERS = "too many layers in volume. Please wait and retry."


class Service:
    """Fails a few times, then answers."""

    def __init__(self, failure: Exception, times: int) -> None:
        self.failure, self.times, self.calls = failure, times, 0

    def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self.times:
            raise self.failure
        return "done"


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_PAUSE", "_WAIT"):
        monkeypatch.setattr(errors, name, wait_none())


@pytest.mark.parametrize("text", [LAYERS, "Rate limit exceeded", "try again later"])
def test_busy_answers_are_retried(text: str) -> None:
    service = Service(modal.exception.ResourceExhaustedError(text), 20)

    assert ask("a/b", service) == "done"
    assert service.calls == 21


@pytest.mark.parametrize(
    "failure",
    [
        modal.exception.ServiceError("Service temporarily unavailable: SlowDown"),
        modal.exception.ExecutionError("Put to url https://a/b failed with status 503: SlowDown"),
        modal.exception.ExecutionError("Request failed with status 429 Too Many Requests: wait"),
    ],
)
def test_transfers_that_storage_refuses_for_a_while_are_retried(failure: Exception) -> None:
    assert ask("a/b", Service(failure, 20)) == "done"
    with pytest.raises(BusyError, match="does not transfer a/b yet"):
        ask("a/b", Service(failure, 1), busy_seconds=0.0)


def test_retries_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    ask("a/b", Service(modal.exception.ResourceExhaustedError(LAYERS), 1))

    (message,) = caplog.messages
    assert message == (
        f"Modal is busy and does not accept a/b yet: {LAYERS}; the next try is in 0.0 s"
    )


def test_lasting_back_pressure_is_reported() -> None:
    service = Service(modal.exception.ResourceExhaustedError(LAYERS), 1)

    with pytest.raises(BusyError, match="too many layers"):
        ask("a/b", service, busy_seconds=0.0)


@pytest.mark.parametrize(
    "text", ["Volume 'x' is full: 5 B of 4 B", "no space left", "storage limit reached"]
)
def test_only_a_message_about_space_means_a_full_volume(text: str) -> None:
    service = Service(modal.exception.ResourceExhaustedError(text), 1)

    with pytest.raises(OSError, match="full") as caught:
        ask("a/b", service)

    assert caught.value.errno == errno.ENOSPC
    assert service.calls == 1


def test_a_silent_service_is_retried_within_the_patience() -> None:
    service = Service(modal.exception.ConnectionError("no route"), 2)

    assert ask("a/b", service, patience_seconds=60.0) == "done"
    with pytest.raises(ConnectionError):
        ask("a/b", Service(modal.exception.ConnectionError("no route"), 1))


@pytest.mark.parametrize(
    "failure",
    [
        modal.exception.ConflictError("a concurrent write"),
        modal.exception.DataLossError("lost"),
        modal.exception.ExecutionError("Request failed with status 500"),
        modal.exception.VolumeUploadTimeoutError("Uploading timed out"),
        aiohttp.ClientPayloadError("the connection was lost"),
        aiohttp.ServerDisconnectedError(),
        TimeoutError(),
    ],
)
def test_whatever_may_pass_is_tried_again_and_then_reported_as_a_lost_connection(
    failure: Exception,
) -> None:
    lasting = Service(failure, 1000)

    assert ask("a/b", Service(failure, 3), patience_seconds=60.0) == "done"
    with pytest.raises(ConnectionError, match="did not answer about a/b"):
        ask("a/b", lasting)
    assert lasting.calls == 1
