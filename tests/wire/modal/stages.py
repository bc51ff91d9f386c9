"""Starts stages on the loopback and tells them what to do, for tests."""

import uuid
from collections.abc import Callable
from pathlib import Path

import modal

from storage.modal.leases import ModalLeases
from storage.modal.shared_dict import ModalDict
from tests.wire.modal.loopback.api import Loopback
from tests.wire.modal.loopback.work import Attempt
from training.backends.modal.backend import ModalBackend
from training.backends.modal.call_records import CallRecords, Placement
from training.ports import Call, Leases
from training.vocabulary import StageKey, StageName

APP = Path(__file__).with_name("stage_app.py")
ROOT = Path(__file__).parents[3]


class Clock:
    """A clock that only tests move."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        # Later calls come later, as with a clock that is fine enough.
        self.now += 0.001
        return self.now


class Stages:
    """The calls of one guild, which no other test knows."""

    def __init__(self, loopback: Loopback) -> None:
        self.loopback, self.guild, self.clock = loopback, uuid.uuid4().hex[:8], Clock()
        self.records = self.records_of(CallRecords)
        self.leases = ModalLeases(self._dict("leases"), clock=self.clock)
        self._script = self._dict("script")
        self._before = set(loopback.plane.calls.calls)

    def records_of(self, kind: type[CallRecords]) -> CallRecords:
        """Return the guild's records, as one kind of process has them."""
        return kind(self._dict("calls"), self._dict("line"))

    def backend(
        self,
        *,
        gpu_limit: int = 4,
        gpu: str | None = None,
        app: str = "stages",
        place: Callable[[Call], Placement] | None = None,
        records: CallRecords | None = None,
        leases: Leases | None = None,
    ) -> ModalBackend:
        """Return a backend of this guild; several of them are several containers."""

        def place_by_stage(call: Call) -> Placement:
            return Placement("on_cpu") if call.device == "cpu" else Placement(call.key.stage, gpu)

        return ModalBackend(
            app,
            records or self.records,
            leases or self.leases,
            place or place_by_stage,
            gpu_limit=gpu_limit,
            clock=self.clock,
        )

    def call(self, run: str, *, stage: StageName = "train", device: str = "gpu") -> Call:
        """Return the first attempt of a stage."""
        return Call(guild=self.guild, run=run, key=StageKey(stage), attempt=1, device=device)

    def tell(self, run: str, what: str) -> None:
        """Say what the stages of a run are to do."""
        self._script.put(run, what)

    def finish(self, run: str, handle: str, how: str = "finish") -> None:
        """Let the function that works on a call end, and wait for it."""
        call_id = self.wait_until_it_works(handle)
        self.tell(run, how)
        self.wait_until_over(call_id)

    def spawned(self) -> list[str]:
        """Return the ids of all functions that were spawned for the guild, oldest first."""
        return [its for its in self.loopback.plane.calls.calls if its not in self._before]

    def workers(self, name: str) -> list[str]:
        """Return the ids of the spawned functions that worked on a call."""
        prefix = f"worked/{name}/"
        keys = (key for key, _ in self._script.items())
        return [key.removeprefix(prefix) for key in keys if key.startswith(prefix)]

    def wait_until_it_works(self, handle: str) -> str:
        """Wait until the function that is noted for a call was started; return its id."""
        call_id = self.records.spawned(handle)
        assert call_id is not None
        attempts = self._attempts
        self.loopback.wait_for(lambda: any(its.call_id == call_id for its in attempts))
        return call_id

    def wait_until_over(self, call_id: str) -> None:
        """Wait until a spawned function has come to its end."""
        calls = self.loopback.plane.calls.calls
        self.loopback.wait_for(lambda: calls[call_id].finished_at is not None)

    def wait_until_no_gpu_is_held(self, call_id: str) -> None:
        """Wait until the container of a spawned function has given back its GPU."""
        (container,) = {its.container_id for its in self._attempts if its.call_id == call_id}
        held = self.loopback.plane.gpus.held
        self.loopback.wait_for(lambda: all(its.container_id != container for its in held()))

    def outcomes(self, call_id: str) -> list[str | None]:
        """Return how the executions of a spawned function ended."""
        return [its.outcome for its in self._attempts if its.call_id == call_id]

    def end(self) -> None:
        """End everything that still runs, so that its GPU is free for the next test."""
        for call_id in self.spawned():
            modal.FunctionCall.from_id(call_id).cancel(terminate_containers=True)
            self.wait_until_over(call_id)

    @property
    def _attempts(self) -> list[Attempt]:
        return self.loopback.plane.scheduler.journal.attempts

    def _dict(self, kind: str) -> ModalDict:
        return ModalDict(modal.Dict.from_name(f"{kind}-{self.guild}", create_if_missing=True))
