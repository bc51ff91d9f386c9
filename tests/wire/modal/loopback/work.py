"""Calls and their inputs, and the journal of what ran."""

import asyncio
from dataclasses import dataclass, field
from typing import Literal

from modal_proto import api_pb2

from tests.wire.modal.loopback.definitions import FunctionRecord

Outcome = Literal[
    "success",  # returned
    "failure",  # raised
    "cancelled",
    "timeout",
    "preempted",  # runs again, as the same input
    "killed",  # its container died
    "init_failure",  # no container came up
]
STATUS_OUTCOMES: dict[int, Outcome] = {
    api_pb2.GenericResult.GENERIC_STATUS_SUCCESS: "success",
    api_pb2.GenericResult.GENERIC_STATUS_FAILURE: "failure",
    api_pb2.GenericResult.GENERIC_STATUS_TERMINATED: "cancelled",
    api_pb2.GenericResult.GENERIC_STATUS_TIMEOUT: "timeout",
    api_pb2.GenericResult.GENERIC_STATUS_INTERNAL_FAILURE: "killed",
    api_pb2.GenericResult.GENERIC_STATUS_INIT_FAILURE: "init_failure",
}


@dataclass
class Attempt:
    """One execution of one input in one container.

    Attributes:
        function: Tag of the function in its app.
        retry: How often the input had failed before.
        started: By `time.monotonic()`, as in every other record.
        ended: None while it runs.
        outcome: None while it runs.
    """

    call_id: str
    input_id: str
    function: str
    container_id: str
    retry: int
    started: float
    ended: float | None = None
    outcome: Outcome | None = None


@dataclass
class Call:
    """One call of a function.

    Attributes:
        policy: How often its inputs are tried again, and when.
        parent_input_id: The input that called, empty for a client outside.
        finished_at: When its last input finished, by the clock of the loopback.
        is_expired: Whether its results are gone.
    """

    id: str
    function: FunctionRecord
    policy: api_pb2.FunctionRetryPolicy
    parent_input_id: str
    created_at: float
    inputs: "list[Input]" = field(default_factory=list["Input"])
    finished_at: float | None = None
    is_expired: bool = False


@dataclass(eq=False)
class Input:
    """One input of a call, until it has an output.

    Attributes:
        container_id: Where it runs or ran last.
        is_running: Whether a container has it now.
        is_cancelled: Whether a cancel was asked for while it ran.
        deadline: Ends the attempt when its time is up.
    """

    id: str
    call: Call
    index: int
    message: api_pb2.FunctionInput
    retries: int = 0
    container_id: str = ""
    is_running: bool = False
    is_cancelled: bool = False
    output: api_pb2.FunctionPutOutputsItem | None = None
    deadline: asyncio.TimerHandle | None = None
    attempt: Attempt | None = None


class Journal:
    """Every attempt in the order in which it started."""

    def __init__(self) -> None:
        self.attempts: list[Attempt] = []

    def start(self, work: Input, container_id: str) -> None:
        """Note that a container took an input."""
        attempt = Attempt(
            call_id=work.call.id,
            input_id=work.id,
            function=work.call.function.name,
            container_id=container_id,
            retry=work.retries,
            started=asyncio.get_running_loop().time(),
        )
        work.container_id, work.is_running, work.attempt = container_id, True, attempt
        self.attempts.append(attempt)

    def end(self, work: Input, outcome: Outcome) -> None:
        """Note how an attempt ended, if one runs."""
        if work.deadline is not None:
            work.deadline.cancel()
            work.deadline = None
        work.is_running = False
        if work.attempt is not None and work.attempt.outcome is None:
            work.attempt.ended = asyncio.get_running_loop().time()
            work.attempt.outcome = outcome
