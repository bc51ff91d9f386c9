"""The workspace's GPUs: which containers wait for one or hold one, and for how long."""

import asyncio
from dataclasses import dataclass

from modal_proto import api_pb2

from tests.wire.modal.loopback.changes import Changes
from tests.wire.modal.loopback.settings import Settings

# What `nvidia-smi` calls each type.
DRIVER_NAMES = {
    "T4": "Tesla T4",
    "L4": "NVIDIA L4",
    "A10": "NVIDIA A10",
    "A10G": "NVIDIA A10G",
    "L40S": "NVIDIA L40S",
    "A100": "NVIDIA A100-SXM4-40GB",
    "A100-40GB": "NVIDIA A100-SXM4-40GB",
    "A100-80GB": "NVIDIA A100-SXM4-80GB",
    "RTX-PRO-6000": "NVIDIA RTX PRO 6000 Blackwell Server Edition",
    "H100": "NVIDIA H100 80GB HBM3",
    "H200": "NVIDIA H200",
    "B200": "NVIDIA B200",
}


@dataclass
class Hold:
    """One GPU in the hands of one container.

    Attributes:
        gpu: Number of the slot.
        gpu_type: As the function asked for it.
        given: What the container got.
        taken: By `time.monotonic()`.
        released: None while it is held.
    """

    gpu: int
    gpu_type: str
    given: str
    function: str
    container_id: str
    taken: float
    released: float | None = None


class Gpus:
    """Slots with a queue: first come, first served.

    Attributes:
        log: Every hold in the order in which it began.
    """

    def __init__(self, settings: Settings, changes: Changes) -> None:
        self._settings, self._changes = settings, changes
        self._waiting: list[str] = []
        self.log: list[Hold] = []

    def held(self) -> list[Hold]:
        """Return the holds of this moment."""
        return [hold for hold in self.log if hold.released is None]

    @property
    def waiting(self) -> list[str]:
        """The containers that wait for a GPU, the next one first."""
        return list(self._waiting)

    async def take(
        self, container_id: str, function: str, ranked: list[api_pb2.Function]
    ) -> api_pb2.Function:
        """Wait for GPUs of one of the ranks and return the function of that rank.

        A function without GPU returns at once.
        """
        if not ranked[0].resources.gpu_config.gpu_type:
            return ranked[0]
        self._waiting.append(container_id)
        chosen: list[api_pb2.Function] = []

        def can_start() -> bool:
            chosen[:] = [its for its in ranked if self._has_room(its)][:1]
            return self._waiting[0] == container_id and bool(chosen)

        try:
            while not await self._changes.wait_for(can_start, seconds=3600):
                continue
            self._hold(container_id, function, chosen[0])
        finally:
            self._waiting.remove(container_id)
            self._changes.notify()
        return chosen[0]

    def given(self, asked: str) -> str:
        """Return the type that a request for a type gets."""
        return self._settings.upgraded_gpus.get(asked, asked.rstrip("!+"))

    def release(self, container_id: str) -> None:
        """Give back what a container holds."""
        now = asyncio.get_running_loop().time()
        for hold in self.held():
            if hold.container_id == container_id:
                hold.released = now
        self._changes.notify()

    def _has_room(self, function: api_pb2.Function) -> bool:
        gpu = function.resources.gpu_config
        is_available = gpu.gpu_type.rstrip("!+") not in self._settings.unavailable_gpus
        return is_available and len(self.held()) + (gpu.count or 1) <= self._settings.gpus

    def _hold(self, container_id: str, name: str, function: api_pb2.Function) -> None:
        now = asyncio.get_running_loop().time()
        gpu = function.resources.gpu_config
        taken = {hold.gpu for hold in self.held()}
        free = [slot for slot in range(self._settings.gpus) if slot not in taken]
        for slot in free[: gpu.count or 1]:
            given = self.given(gpu.gpu_type)
            self.log.append(Hold(slot, gpu.gpu_type, given, name, container_id, now))
