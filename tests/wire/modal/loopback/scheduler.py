"""Starts containers, gives them inputs and takes their outputs."""

import asyncio
import signal
from collections import deque
from collections.abc import Callable

from modal_proto import api_pb2

from tests.wire.modal.loopback.changes import Changes
from tests.wire.modal.loopback.container import Container
from tests.wire.modal.loopback.definitions import FunctionRecord
from tests.wire.modal.loopback.settings import Clock, Settings
from tests.wire.modal.loopback.work import STATUS_OUTCOMES, Call, Input, Journal

Result = api_pb2.GenericResult
MAX_CONTAINERS = 100  # of a workspace on the Starter plan
MAX_FAILED_STARTS = 3
MAX_BACKOFF_SECONDS = 5.0


class Scheduler:
    """The queues of all functions and their containers.

    Attributes:
        containers: Every container that ever was, by id.
        journal: What ran.
        launch: Starts the process of a new container.
        is_stopping: No container is started any more.
    """

    def __init__(self, settings: Settings, clock: Clock, changes: Changes) -> None:
        self._settings, self._clock, self._changes = settings, clock, changes
        self._queues: dict[str, deque[Input]] = {}
        self._failed_starts: dict[str, int] = {}
        self.containers: dict[str, Container] = {}
        self.journal = Journal()
        self.launch: Callable[[FunctionRecord], Container | None] = lambda _record: None
        self.is_stopping = False

    def living(self, function_id: str) -> list[Container]:
        """Return the containers of a function that have not ended."""
        return [
            container
            for container in self.containers.values()
            if container.function.id == function_id and container.state != "ended"
        ]

    def living_all(self) -> list[Container]:
        """Return every container that has not ended."""
        return [its for its in self.containers.values() if its.state != "ended"]

    def queue(self, function_id: str) -> deque[Input]:
        """Return the inputs of a function that wait for a container."""
        return self._queues.setdefault(function_id, deque())

    def enqueue(self, work: Input, *, first: bool = False) -> None:
        """Let an input wait for a container, unless it was cancelled meanwhile."""
        if work.output is not None:
            return
        queue = self.queue(work.call.function.id)
        queue.appendleft(work) if first else queue.append(work)
        self.scale(work.call.function)
        self._changes.notify()

    def scale(self, record: FunctionRecord) -> None:
        """Start the containers that a function's queue and its minimum ask for."""
        definition = record.definition
        if self.is_stopping or definition is None or definition.data.is_server:
            return
        scaling = definition.function.autoscaler_settings
        open_to_work = [its for its in self.living(record.id) if its.takes_inputs]
        room = sum(its.capacity - len(its.inputs) for its in open_to_work)
        missing = len(self.queue(record.id)) - room
        missing = max(missing, scaling.min_containers - len(open_to_work))
        limit = scaling.max_containers or MAX_CONTAINERS
        for _ in range(min(missing, limit - len(self.living(record.id)))):
            self.launch(record)
        for container in [its for its in open_to_work if its.state == "queued"][: max(0, -missing)]:
            self._call_off(container)

    async def take(self, container: Container) -> Input | None:
        """Wait for an input for a container; return None when it shall end."""
        container.is_ready = True
        self._failed_starts.pop(container.function.id, None)
        if container.state == "starting":
            container.state = "running"
        self._changes.notify()
        queue = self.queue(container.function.id)
        scaling = container.definition.autoscaler_settings
        idle = min(scaling.scaledown_window or 60, self._settings.idle_seconds)
        if scaling.min_containers:
            idle = 3600
        came = await self._changes.wait_for(lambda: queue or not container.takes_inputs, idle)
        if not came or not container.takes_inputs:
            if not container.inputs:
                self.drain(container)
            return None
        work = queue.popleft()
        self._start(work, container)
        return work

    def put(self, container: Container, item: api_pb2.FunctionPutOutputsItem) -> None:
        """Take the output of an input from the container that ran it."""
        work = next((its for its in container.inputs if its.id == item.input_id), None)
        if work is None:  # it was killed, timed out or cancelled meanwhile
            return
        status = item.result.status
        if container.is_preempted and status == Result.GENERIC_STATUS_TERMINATED:
            return  # runs again when the container is gone, whatever the container says
        container.inputs.remove(work)
        self._end(work, item.result, item)

    def cancel(self, call: Call, *, terminate: bool) -> None:
        """End the unfinished inputs of a call."""
        for work in [its for its in call.inputs if its.output is None]:
            container = self.containers.get(work.container_id) if work.is_running else None
            if container is None:
                if work in self.queue(call.function.id):  # else it waits for its retry
                    self.queue(call.function.id).remove(work)
                self.finish(work, Result(status=Result.GENERIC_STATUS_TERMINATED))
            elif terminate:
                container.inputs.remove(work)
                self.finish(work, Result(status=Result.GENERIC_STATUS_TERMINATED))
                self._take_down(container)
            else:
                work.is_cancelled = True
                container.cancels.append(work.id)
        self.scale(call.function)
        self._changes.notify()

    def finish(
        self, work: Input, result: Result, item: api_pb2.FunctionPutOutputsItem | None = None
    ) -> None:
        """Give an input its final output."""
        self.journal.end(work, STATUS_OUTCOMES[result.status])
        work.output = item or api_pb2.FunctionPutOutputsItem(
            input_id=work.id, result=result, data_format=api_pb2.DATA_FORMAT_PICKLE
        )
        if all(its.output is not None for its in work.call.inputs):
            work.call.finished_at = self._clock.now()
        self._changes.notify()

    def drain(self, container: Container) -> None:
        """Let a container finish what it runs and take no more."""
        if container.state == "queued":
            self._call_off(container)
        elif container.state != "ended":
            container.state = "draining"
        self._changes.notify()

    def close(self, record: FunctionRecord) -> None:
        """End everything of a function whose app was stopped."""
        queue = self.queue(record.id)
        while queue:
            self.finish(queue.popleft(), Result(status=Result.GENERIC_STATUS_TERMINATED))
        for container in self.living(record.id):
            for work in container.inputs:
                work.is_cancelled = True
            if not container.definition.is_server:
                self.stop(container)

    def preempt(self, container: Container) -> None:
        """Take the machine away: a signal, the grace period, then a kill.

        Raises:
            ValueError: Its function is nonpreemptible.
        """
        if container.definition.scheduler_placement.nonpreemptible:
            raise ValueError(f"{container.name} is nonpreemptible")
        self.stop(container)

    def stop(self, container: Container) -> None:
        """End a container early; what it runs is run again elsewhere."""
        container.is_preempted = True
        self.drain(container)
        is_server = container.definition.is_server
        container.signal(signal.SIGTERM if is_server else signal.SIGINT)
        grace = self._settings.preemption_grace_seconds
        asyncio.get_running_loop().call_later(grace, container.kill)

    def ended(self, container: Container) -> None:
        """Deal with what a container that is gone leaves behind."""
        container.state = "ended"
        for work in [*container.inputs]:
            container.inputs.remove(work)
            if container.is_preempted and not work.is_cancelled:
                self.journal.end(work, "preempted")
                self.enqueue(work, first=True)
            elif work.is_cancelled:
                self.finish(work, Result(status=Result.GENERIC_STATUS_TERMINATED))
            else:
                died = f"Container {container.id} exited with code {container.exit_code}"
                status = Result.GENERIC_STATUS_INTERNAL_FAILURE
                self._end(work, Result(status=status, exception=died))
        failures = 0
        if not container.is_ready and container.process and not container.is_preempted:
            failures = self._failed_to_start(container)
        if failures:
            delay = min(0.1 * failures**2, MAX_BACKOFF_SECONDS)
            asyncio.get_running_loop().call_later(delay, self.scale, container.function)
        else:
            self.scale(container.function)
        self._changes.notify()

    def _take_down(self, container: Container) -> None:
        """Kill a container for the sake of one of its inputs; the others run again elsewhere."""
        container.is_preempted = True
        self.drain(container)
        container.kill()

    def _call_off(self, container: Container) -> None:
        """Cancel a container that still waits for a GPU."""
        container.state = "draining"
        if container.task is not None:
            container.task.cancel()

    def _start(self, work: Input, container: Container) -> None:
        container.inputs.append(work)
        container.taken += 1
        container.last_call_id = work.call.id
        self.journal.start(work, container.id)
        seconds = container.definition.timeout_secs
        loop = asyncio.get_running_loop()
        work.deadline = loop.call_later(seconds, self._time_out, work, container)

    def _time_out(self, work: Input, container: Container) -> None:
        container.inputs.remove(work)
        self._take_down(container)
        seconds = container.definition.timeout_secs
        text = f"Task's current input {work.id} hit its timeout of {seconds}s"
        self._end(work, Result(status=Result.GENERIC_STATUS_TIMEOUT, exception=text))

    def _end(
        self, work: Input, result: Result, item: api_pb2.FunctionPutOutputsItem | None = None
    ) -> None:
        """Run an input again as its retry policy has it, or give it its final output."""
        policy = work.call.policy
        is_over = result.status in (
            Result.GENERIC_STATUS_SUCCESS,
            Result.GENERIC_STATUS_TERMINATED,
        )
        if is_over or work.is_cancelled or work.retries >= policy.retries:
            self.finish(work, result, item)
            return
        self.journal.end(work, STATUS_OUTCOMES[result.status])
        delay_ms = policy.initial_delay_ms * (policy.backoff_coefficient or 1) ** work.retries
        work.retries += 1
        delay = min(delay_ms, policy.max_delay_ms or 60_000) / 1000
        asyncio.get_running_loop().call_later(delay, self.enqueue, work)

    def _failed_to_start(self, container: Container) -> int:
        """Note a failed start; after some in a row the waiting inputs fail. Return how many."""
        function_id = container.function.id
        failed = self._failed_starts.get(function_id, 0) + 1
        self._failed_starts[function_id] = failed
        if failed < MAX_FAILED_STARTS:
            return failed
        queue = self.queue(function_id)
        while queue:
            status = Result.GENERIC_STATUS_INIT_FAILURE
            died = Result(status=status, exception=f"Container exited: {container.exit_code}")
            self.finish(queue.popleft(), container.failure or died)
        return failed
