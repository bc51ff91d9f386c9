"""Pairs of experts trained on Modal while faults of every kind come at random, from a seed.

`python -m tests.wire.modal.chaos --seed 1 --faults 200` trains a vanilla and a Lightning pair
undisturbed, then both again at once with faults, and compares their checkpoints byte for byte.
"""

import argparse
import asyncio
import os
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import modal
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from tests.wire.modal.installation import Installation, install, slow_steps
from tests.wire.modal.invariants import call_of, check
from tests.wire.modal.loopback.api import Loopback
from tests.wire.modal.loopback.container import Container
from tests.wire.modal.loopback.rpc import Caller
from tests.wire.modal.loopback.settings import never
from training.files.hashing import file_sha256
from training.runs.spec import ExpertChoice
from training.runs.state import RunStatus
from training.vocabulary import StageKey

PAIRS = ("wan22-i2v-vanilla", "wan22-i2v-lightning")
MINUTE_SECONDS = 5.0
RUN_SECONDS = 1800.0
DELAY_SECONDS = 0.2  # per step, so that faults also hit trainings
# Stands for the 7 days after which unused entries of Dicts expire: leases are renewed and calls
# are looked at more often than that, as they are on Modal.
UNUSED_SECONDS = 3 * MINUTE_SECONDS
# A stage is given up after four attempts in a row without progress: that is its contract.
MOST_ENDS = 2
# A container sends these by itself; faults are counted by the product's own requests.
_BY_THE_CLOCK = ("ContainerHello", "ContainerHeartbeat", "FunctionGetInputs", "AppHeartbeat")
Fault = Callable[["Chaos"], object]


@dataclass(frozen=True)
class Outcome:
    """The outcome of some runs: the hash of each checkpoint, and the faults by kind."""

    checkpoints: Mapping[str, str]
    faults: Mapping[str, int]


class Chaos:
    """Disturbs the loopback at about every `every`-th RPC, until `left` is 0.

    Attributes:
        told: What was done, in its order.
    """

    def __init__(self, installation: Installation, seed: int, faults: int, every: int) -> None:
        self._installation, self._loopback = installation, installation.loopback
        self._random, self._every, self.left = random.Random(seed), every, faults
        self._wait = 1
        self._ends: Counter[tuple[str, StageKey]] = Counter()
        self._is_answer_lost = False
        self.told: list[tuple[str, str]] = []

    @contextmanager
    def at_work(self) -> Generator[None]:
        """Disturb while the body runs; restore everything afterwards."""
        router = self._loopback.plane.router
        router.guards.append(self._before)
        router.listeners.append(self._after)
        try:
            yield
        finally:
            self.left = 0
            router.guards.remove(self._before)
            router.listeners.remove(self._after)
            self._loopback.call(self._calm)

    async def _before(self, name: str, caller: Caller) -> None:
        if self.left <= 0 or name in _BY_THE_CLOCK:
            return
        self._wait -= 1
        if self._wait > 0:
            return
        self._wait = self._random.randint(1, 2 * self._every)
        kind = self._random.choice(_KINDS)
        if kind in _ENDS and not self._end_one(kind):
            return
        self.left -= 1
        self.told.append((kind, name))
        await self._disturb(kind)

    async def _disturb(self, kind: str) -> None:
        if kind == "unavailable":
            raise GRPCError(Status.UNAVAILABLE, "the connection was lost")
        if kind == "answer lost":
            self._is_answer_lost = True
        elif kind == "slow":
            await asyncio.sleep(self._random.uniform(0.2, 1.0))
        elif kind == "results expire":
            self._loopback.plane.calls.expire()
        elif kind == "entries expire":
            self._loopback.plane.dicts.expire(UNUSED_SECONDS)
        elif kind in _FOR_A_WHILE:
            self._for_a_while(kind)

    async def _after(self, name: str, caller: Caller) -> None:
        if self._is_answer_lost and name not in _BY_THE_CLOCK:
            self._is_answer_lost = False
            raise GRPCError(Status.UNAVAILABLE, "the connection was lost")

    def _for_a_while(self, kind: str) -> None:
        begin, end = _FOR_A_WHILE[kind]
        begin(self._installation)
        seconds = self._random.uniform(0.5, 3.0)
        asyncio.get_running_loop().call_later(seconds, end, self._installation)

    def _end_one(self, kind: str) -> bool:
        """End a container that works on a stage, if there is one that may be ended."""
        scheduler = self._loopback.plane.scheduler
        found = [its for its in scheduler.containers.values() if self._may_end(its)]
        if not found:
            return False
        container = self._random.choice(found)
        self._ends[_stage(container)] += 1
        if kind == "killed":
            container.kill()
        else:
            scheduler.preempt(container)
        return True

    def _may_end(self, container: Container) -> bool:
        is_stage = container.name not in ("advance", "tick", "clean_up")
        if not is_stage or container.state != "running" or not container.inputs:
            return False
        return self._ends[_stage(container)] < MOST_ENDS

    def _calm(self) -> None:
        for _, end in _FOR_A_WHILE.values():
            end(self._installation)


def _stage(container: Container) -> tuple[str, StageKey]:
    call = call_of(container.inputs[0])
    return call.run, call.key


def _set(name: str, value: object) -> Callable[[Installation], None]:
    return lambda installation: setattr(installation.loopback.settings, name, value)


def _pull_again(installation: Installation) -> None:
    installation.loopback.plane.launcher.pulled.clear()
    installation.loopback.settings.first_pull_seconds = 2.0


def _layers(limit: int | None) -> Callable[[Installation], None]:
    def set_limit(installation: Installation) -> None:
        for volume in installation.loopback.plane.volumes.volumes.values():
            volume.layer_limit = limit

    return set_limit


def _slow_down(_method: str) -> int:
    return HTTPStatus.SERVICE_UNAVAILABLE


Change = Callable[[Installation], None]
_FOR_A_WHILE: Mapping[str, tuple[Change, Change]] = {
    "too many layers": (_layers(0), _layers(None)),
    "transfers refused": (_set("refuse_transfer", _slow_down), _set("refuse_transfer", never)),
    "dicts busy": (_set("are_dicts_busy", True), _set("are_dicts_busy", False)),
    "spend limit": (_set("is_spend_limit_reached", True), _set("is_spend_limit_reached", False)),
    "no H100": (_set("unavailable_gpus", {"H100"}), _set("unavailable_gpus", set[str]())),
    "larger GPU": (_set("upgraded_gpus", {"H100": "H200"}), _set("upgraded_gpus", {})),
    "cold starts": (_set("cold_start_seconds", 2.0), _set("cold_start_seconds", 0.0)),
    "first pull": (_pull_again, _set("first_pull_seconds", 0.0)),
    "background commits": (
        _set("background_commit_seconds", 0.2),
        _set("background_commit_seconds", None),
    ),
}
_ENDS = ("preempted", "killed")
# Often no container may be ended, so try this more often.
_KINDS = (
    *("unavailable", "answer lost", "slow", "results expire", "entries expire"),
    *(*_ENDS * 3, *_FOR_A_WHILE),
)


def play(
    folder: Path,
    models: Sequence[str],
    disturb: Callable[[Installation], Chaos],
    *,
    expert: ExpertChoice = "both",
) -> Outcome:
    """Train an expert or both of all models at once on a new control plane; return the outcome.

    Raises:
        AssertionError: A run did not succeed, or left something that it must not.
    """
    with _control_plane(folder / "modal") as loopback:
        installation = install(loopback, folder, "lora")
        chaos = disturb(installation)
        loopback.settings.cron_minute_seconds = MINUTE_SECONDS
        with chaos.at_work():
            runs = [
                installation.start(model, env=slow_steps(DELAY_SECONDS), expert=expert)
                for model in models
            ]
            for run in runs:
                installation.until(run, lambda run: run.status.is_final, RUN_SECONDS)
        loopback.settings.cron_minute_seconds = None
        check(installation, *runs)
        found = [installation.run(run) for run in runs]
        assert [run.status for run in found] == [RunStatus.SUCCEEDED] * len(runs), chaos.told
        checkpoints = {
            path.name: file_sha256(path)
            for run in found
            for expert in run.spec.experts
            for path in installation.checkpoints(run.spec.name, expert.name).glob("*.safetensors")
        }
        return Outcome(checkpoints, Counter(kind for kind, _ in chaos.told))


def undisturbed(installation: Installation) -> Chaos:
    return Chaos(installation, seed=0, faults=0, every=1)


def disturbed(seed: int, faults: int, every: int) -> Callable[[Installation], Chaos]:
    return lambda installation: Chaos(installation, seed, faults, every)


@contextmanager
def _control_plane(folder: Path) -> Generator[Loopback]:
    with Loopback(folder) as loopback:
        before = dict(os.environ)
        os.environ.update(loopback.client_env())
        try:
            yield loopback
        finally:
            modal.Client.from_env().close()  # one for the process
            os.environ.clear()
            os.environ.update(before)


def main() -> int:
    """Play the pairs with and without faults; return 0 if their checkpoints are the same."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--every", type=int, default=12, help="RPCs from fault to fault, about")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lorabot-chaos-") as folder:
        calm = play(Path(folder) / "calm", PAIRS, undisturbed)
        chaos = disturbed(asked.seed, asked.faults, asked.every)
        found = play(Path(folder) / "chaos", PAIRS, chaos)
    for kind, count in sorted(found.faults.items()):
        sys.stdout.write(f"{count:4} {kind}\n")
    total, same = sum(found.faults.values()), calm.checkpoints == found.checkpoints
    told = "are the same" if same else "differ"
    sys.stdout.write(f"{total} faults; {len(found.checkpoints)} checkpoints {told}\n")
    return 0 if same and total == asked.faults else 1


if __name__ == "__main__":
    sys.exit(main())
