"""A deployment of the stages on the loopback: starts and follows runs as the bot does."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from storage.local.run_index import SqliteRunIndex
from storage.local.store import FolderStore
from storage.modal.runtime import ModalRuntime, open_runtime
from tests.media import guide_files, write_zip
from tests.wire.modal.loopback.api import PATIENCE_SECONDS, Loopback
from tests.wire.modal.loopback.container import Container
from training.deployment.names import (
    APP_VARIABLE,
    ENGINE_VARIABLE,
    GPU_STAGES_VARIABLE,
    HUB_SECRET,
    Deployment,
)
from training.operations.run_drafts import Requester
from training.operations.runs import Runs
from training.pipeline.advance import open_runs
from training.pipeline.run_view import RunView
from training.registry.dataset_draft import Upload
from training.registry.datasets import Datasets
from training.rehearsal.hold import CACHING, TRAINING
from training.runs.event_log import RunLog
from training.runs.events import Event
from training.runs.spec import ExpertChoice, TrainRequest
from training.runs.state import Run, StageState
from training.store_keys import Area, RunKeys
from training.vocabulary import StageKey

GUILD = "1"
ROOT = Path(__file__).parents[3]
REQUESTER = Requester(guild=GUILD, by="7", channel="5")
Held = Literal["caching", "training"]
HOLDS: Mapping[Held, str] = MappingProxyType({"caching": CACHING, "training": TRAINING})
NO_ENV: Mapping[str, str] = MappingProxyType({})
# Events of stages wait for the next write, however long that takes on a busy machine.
PATIENT: Mapping[str, str] = MappingProxyType({"LORABOT_WRITE_SECONDS": "2400"})
SMALL = "wan21-t2v-1-3b"  # one expert, nothing to merge
_LOOK_SECONDS = 0.1


def slow_steps(seconds: float) -> Mapping[str, str]:
    """Return the environment in which each training step takes so much longer."""
    return {"LORABOT_STEP_DELAY": str(seconds)}


@dataclass(frozen=True)
class Installation:
    """One deployment with the dataset `annika`.

    Attributes:
        hold: While this file exists, runs that were started to be held wait.
        env: What the deploy is told beside the loopback's address.
        seen: The most that was ever seen of each event file.
    """

    loopback: Loopback
    hold: Path
    env: Mapping[str, str]
    parts: ModalRuntime
    runs: Runs
    seen: dict[Path, bytes] = field(default_factory=dict[Path, bytes])

    def deploy(self) -> None:
        """Deploy the stages, for the first time or once more."""
        self.loopback.deploy("module:training.modal_app", env=self.env, cwd=ROOT)

    def start(
        self,
        model: str = SMALL,
        *,
        name: str | None = None,
        held: Held | None = None,
        env: Mapping[str, str] = NO_ENV,
        gpu: str | None = None,
        expert: ExpertChoice = "both",
        **settings: str,
    ) -> str:
        """Start a run of two short epochs.

        Args:
            model: What it trains.
            name: Of the run.
            held: What waits until `hurry`: caching after its first sample, or training one step
                after it has first saved its state.
            env: What containers that start from now on find in their environment.
            gpu: A GPU that is asked for.
            expert: Which experts are trained.
            settings: Others of its settings.
        """
        if held is not None:
            self.hold.touch()
            env = {HOLDS[held]: str(self.hold), **env}
        self.loopback.settings.container_env = env
        request = TrainRequest(
            model=model,
            dataset="annika",
            name=name,
            gpu=gpu,
            expert=expert,
            settings={"epochs": "2", "save_every": "1", **settings},
        )
        return self.runs.start(request, REQUESTER, "rehearsal").name

    def hurry(self) -> None:
        """Let what is held go on, and containers that start from now on train without pauses."""
        self.hold.unlink(missing_ok=True)
        self.loopback.settings.container_env = {}

    def cancel(self, run: str) -> None:
        """Ask a run to stop, as a person does."""
        self.runs.cancel(GUILD, run, by="7")

    def tick(self) -> None:
        """Let a minute pass for the schedule of the tick."""
        self.loopback.fire_cron("tick")

    def run(self, name: str) -> Run:
        """Return a run read directly from its files, which counts no RPC."""
        for path in (self.committed("runs") / RunKeys(GUILD, name).events).glob("*.jsonl"):
            self.seen[path] = max(self.seen.get(path, b""), path.read_bytes(), key=len)
        return self.log(name).load()

    def events(self, name: str) -> list[Event]:
        """Return the stored events of a run."""
        return self.log(name).events()

    def stage(self, name: str, key: StageKey) -> StageState:
        """Return the state of a stage."""
        return self.run(name).stage(key)

    def log(self, name: str) -> RunLog:
        """Return the log of a run, as it is committed."""
        return RunLog(FolderStore(self.committed("runs")), GUILD, name)

    def kill(self, name: str, key: StageKey) -> None:
        """Kill the container that works on a stage, and wait until it is gone."""
        container = self.worker(name, key)
        self.loopback.kill(container)
        self.loopback.wait_for(lambda: container.state == "ended")

    def view(self, name: str) -> RunView:
        """Return a run as the bot sees it."""
        return self.runs.view(GUILD, name)

    def committed(self, area: Area) -> Path:
        """Return the committed files of a Volume."""
        return self.loopback.committed(self.deployment.volume(area))

    def checkpoints(self, name: str, expert: str = "main") -> Path:
        """Return the folder of an expert's committed checkpoints and training states."""
        folder = f"{RunKeys(GUILD, name).folder}/checkpoints/{expert}"
        return self.committed("runs") / folder

    @property
    def deployment(self) -> Deployment:
        """Its names."""
        return Deployment.from_env(self.env)

    def until(
        self, name: str, reached: Callable[[Run], object], seconds: float = PATIENCE_SECONDS
    ) -> Run:
        """Wait until a run is where the test wants it.

        Raises:
            AssertionError: It ended before, or did not get there in time.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            run = self.run(name)
            if reached(run):
                return run
            if run.status.is_final:
                break
            # Replacing a file announces nothing.
            time.sleep(_LOOK_SECONDS)
        raise AssertionError(f"{name} never got there: {self.run(name)}\n{self.loopback.logs()}")

    def finish(self, name: str, seconds: float = PATIENCE_SECONDS) -> Run:
        """Wait until a run has ended and no container works on it."""
        run = self.until(name, lambda run: run.status.is_final, seconds)
        self.settle()
        return run

    def settle(self) -> None:
        """Wait until no input is left to work on."""
        scheduler = self.loopback.plane.scheduler
        calls = self.loopback.plane.calls.calls
        self.loopback.wait_for(
            lambda: (
                all(call.finished_at is not None for call in calls.values())
                and not any(its.inputs for its in scheduler.living_all())
            )
        )

    def open_runs(self) -> list[tuple[str, str]]:
        """Return the guild and name of each run that has not ended."""
        return open_runs(self.parts.runtime)

    def worker(self, name: str, key: StageKey) -> Container:
        """Return the container that works on the newest attempt of a stage."""
        call_id = self.parts.records.spawned(self.stage(name, key).handle)
        return next(
            its
            for its in self.loopback.containers()
            if any(work.call.id == call_id for work in its.inputs)
        )


def install(loopback: Loopback, folder: Path, name: str, *, gpu_stages: int = 4) -> Installation:
    """Deploy the stages and store the dataset `annika`.

    Args:
        loopback: Where.
        folder: For files of the test.
        name: Of the deployment.
        gpu_stages: How many stages may hold a GPU at once.
    """
    env = {
        APP_VARIABLE: name,
        ENGINE_VARIABLE: "rehearsal",
        GPU_STAGES_VARIABLE: str(gpu_stages),
    }
    loopback.settings.idle_seconds = 20.0  # as its Functions ask
    loopback.create_secret(HUB_SECRET, {"HF_TOKEN": "hf_loopback"})
    parts = open_runtime(Deployment.from_env(env))
    runs = Runs(parts.runtime, SqliteRunIndex(folder / f"{name}.sqlite"))
    installation = Installation(loopback, folder / f"{name}.hold", env, parts, runs)
    installation.deploy()
    archive = write_zip(folder / "annika.zip", guide_files(images=2, clips=1, frames=49))
    upload = Upload(archive=archive, by="7", file_name="annika.zip")
    Datasets(parts.runtime.store).add(GUILD, "annika", upload)
    return installation
