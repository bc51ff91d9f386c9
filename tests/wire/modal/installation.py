"""A deployment of the stages on the loopback, as the bot uses it: runs started and followed."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from storage.local.run_index import SqliteRunIndex
from storage.local.store import FolderStore
from storage.modal.runtime import ModalRuntime, open_runtime
from tests.media import guide_files, write_zip
from tests.wire.modal.loopback.api import Loopback
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
from training.runs.event_log import RunLog
from training.runs.events import Event
from training.runs.spec import TrainRequest
from training.runs.state import Run, StageState
from training.store_keys import Area, RunKeys
from training.vocabulary import StageKey

GUILD = "1"
ROOT = Path(__file__).parents[3]
REQUESTER = Requester(guild=GUILD, by="7", channel="5")
SLOW = "LORABOT_STEP_DELAY"
SMALL = "wan21-t2v-1-3b"  # one expert, nothing to merge
DEADLINE_SECONDS = 240.0  # of a machine on which much else runs
_LOOK_SECONDS = 0.1


@dataclass(frozen=True)
class Installation:
    """One deployment with the dataset `annika`.

    Attributes:
        env: What the deploy is told beside the loopback's address.
        seen: The most that was ever seen of each event file.
    """

    loopback: Loopback
    env: Mapping[str, str]
    parts: ModalRuntime
    runs: Runs
    seen: dict[Path, bytes] = field(default_factory=dict[Path, bytes])

    def deploy(self) -> None:
        """Deploy the stages, for the first time or once more."""
        self.loopback.deploy("module:training.modal_app", env=self.env, cwd=ROOT)

    def start(
        self, model: str = SMALL, *, name: str | None = None, delay: float = 0.0, **settings: str
    ) -> str:
        """Start a run of two short epochs; each step takes `delay` seconds longer."""
        self.loopback.settings.container_env = {SLOW: str(delay)} if delay else {}
        request = TrainRequest(
            model=model,
            dataset="annika",
            name=name,
            settings={"epochs": "2", "save_every": "1", **settings},
        )
        return self.runs.start(request, REQUESTER, "rehearsal").name

    def hurry(self) -> None:
        """Have the containers that start from now on train without a pause."""
        self.loopback.settings.container_env = {}

    def cancel(self, run: str) -> None:
        """Ask a run to stop, as a person does."""
        self.runs.cancel(GUILD, run, by="7")

    def tick(self) -> None:
        """Let a minute pass for the schedule of the tick."""
        self.loopback.fire_cron("tick")

    def run(self, name: str) -> Run:
        """Return a run as its files have it, read past Modal's interface and so not counted."""
        for path in (self.committed("runs") / RunKeys(GUILD, name).events).glob("*.jsonl"):
            self.seen[path] = max(self.seen.get(path, b""), path.read_bytes(), key=len)
        return self.log(name).load()

    def events(self, name: str) -> list[Event]:
        """Return the stored events of a run."""
        return self.log(name).events()

    def stage(self, name: str, key: StageKey) -> StageState:
        """Return how a stage stands."""
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
        self, name: str, reached: Callable[[Run], object], seconds: float = DEADLINE_SECONDS
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
            # A file that is replaced tells nobody.
            time.sleep(_LOOK_SECONDS)
        raise AssertionError(f"{name} never got there: {self.run(name)}\n{self.loopback.logs()}")

    def finish(self, name: str, seconds: float = DEADLINE_SECONDS) -> Run:
        """Wait until a run has ended and nothing works for it any more."""
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
            ),
            DEADLINE_SECONDS,
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
    installation = Installation(loopback, env, parts, runs)
    installation.deploy()
    archive = write_zip(folder / "annika.zip", guide_files(images=2, clips=1, frames=49))
    upload = Upload(archive=archive, by="7", file_name="annika.zip")
    Datasets(parts.runtime.store).add(GUILD, "annika", upload)
    return installation
