"""A whole run with the real musubi-tuner, from a zip to published checkpoints, stopped once."""

import importlib
import json
import shutil
import threading
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

import pytest

from bot.hosting.local import LocalInstallation
from bot.settings import Settings
from storage.local.run_index import SqliteRunIndex
from tests.media import guide_files, write_zip
from tests.musubi.checkout import Checkout
from training.catalogue.models import Model, WeightFile, find_model
from training.files.hashing import file_sha256
from training.musubi.engine import MusubiEngine
from training.operations.run_drafts import Requester
from training.operations.runs import Runs
from training.pipeline.runtime import Runtime
from training.pipeline.stage_runner import run_stage
from training.ports import Call, CallState, CallStatus, Extent, GpuLine, Obtained
from training.registry.dataset_draft import Upload
from training.rehearsal.model.shape import adapter_widths
from training.runs import events as ev
from training.runs.spec import TrainRequest
from training.runs.state import RunStatus
from training.runs.training_events import CheckpointSaved, EpochEnded
from training.vocabulary import StageKey, Widths

pytestmark = [pytest.mark.musubi, pytest.mark.timeout(900)]

MODEL = find_model("wan21-t2v-1-3b")
REQUESTER = Requester(guild="local", by="7")


class TinyMusubi(MusubiEngine):
    """The engine as it is, but for weights that are made here and not downloaded."""

    def __init__(self, checkout: Checkout) -> None:
        super().__init__(checkout.musubi, checkout.python)
        self._here = checkout

    def environment(self) -> Mapping[str, str]:
        return {**super().environment(), **self._here.shim}

    def modules(self, model: Model) -> Widths:
        return adapter_widths(clip=model.clip)

    def module_count(self, model: Model) -> int:
        return len(self.modules(model))

    def extent(self, weight: WeightFile, target: Path) -> Extent:
        return Extent(0)

    def obtain(
        self, model: Model, weight: WeightFile, target: Path, watch: Callable[[int], None]
    ) -> Obtained:
        if weight in model.tokenizers:
            target.write_text("{}\n", "utf-8")  # the shim splits captions itself
            return Obtained("tiny", file_sha256(target))
        weights = self._here.weights
        made = {model.vae: weights.vae, model.t5: weights.t5, model.clip_weights: weights.clip}
        source = made.get(weight) or self._here.base(model)
        shutil.copyfile(source, target)
        return Obtained("tiny", file_sha256(target))


class Line:
    """A backend that leaves it to the test when a call is made."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.ended: set[str] = set()

    def submit(self, call: Call, *, since: datetime | None = None) -> str:
        if call not in self.calls:
            self.calls.append(call)
        return call.name

    def state(self, handle: str) -> CallState:
        return CallState(CallStatus.ENDED if handle in self.ended else CallStatus.RUNNING)

    def gpu_line(self) -> GpuLine:
        return GpuLine(running=0, waiting=0, slots=1)

    def obstacle(self) -> None:
        """Return None: nothing stands in the way."""

    def cancel(self, name: str) -> None:
        self.ended.add(name)

    def work(self, runtime: Runtime, is_stopped: Callable[[Call], bool]) -> None:
        """Make every call, those that come of one among them; stop some after a moment."""
        for call in self.calls:  # it grows while it is walked through
            stopping = threading.Event()
            stage = importlib.import_module(f"training.pipeline.stages.{call.key.stage}").run
            if is_stopped(call):
                state = runtime.store.path(f"guilds/local/runs/{call.run}/checkpoints/main")
                threading.Thread(target=_stop_when, args=(state, stopping), daemon=True).start()
            run_stage(runtime, call, stage, stopping)
            self.ended.add(call.name)


def _stop_when(folder: Path, stopping: threading.Event) -> None:
    while not list(folder.glob("*-000001-state")):
        stopping.wait(0.05)
    stopping.set()


def test_a_run_is_trained_by_musubi_stopped_resumed_and_published(
    checkout: Checkout, tmp_path: Path
) -> None:
    local, line = LocalInstallation(Settings(home=tmp_path / "home")), Line()
    archive = write_zip(tmp_path / "annika.zip", guide_files(images=2, clips=0, frames=1))
    upload = Upload(archive=archive, by="7", file_name="annika.zip")
    local.datasets.add("local", "annika", upload)
    runtime = Runtime(
        store=local.runtime.store,
        leases=local.runtime.leases,
        backend=line,
        live=local.runtime.live,
        engine=lambda _: TinyMusubi(checkout),
    )
    runs = Runs(runtime, SqliteRunIndex(tmp_path / "index.sqlite"))
    settings = {"epochs": "4", "save_every": "1", "optimizer": "adamw", "rank": "4"}
    request = TrainRequest(model=MODEL.name, dataset="annika", settings=settings)
    name = runs.start(request, REQUESTER, "musubi").name

    line.work(runtime, lambda call: call.key.stage == "train" and call.attempt == 1)

    log = runtime.log("local", name)
    events = [event for event in log.events() if isinstance(event, ev.StageEvent)]
    bodies = [(event.attempt, event.body) for event in events if str(event.key) == "train-main"]
    trained = [body for _, body in bodies]
    started = [
        (attempt, body.resumed_step)
        for attempt, body in bodies
        if isinstance(body, ev.StageStarted) and body.resumed_step is not None
    ]
    epochs = [event.epoch for event in trained if isinstance(event, EpochEnded)]
    saved = [event for event in trained if isinstance(event, CheckpointSaved)]
    run = log.load()
    assert run.status is RunStatus.SUCCEEDED, run.cause
    newest = json.loads(runtime.live.read(run.spec.keys.progress(StageKey("train", "main"))) or b"")
    assert (newest["samples"], newest["tokens"]) in runtime.planner(run.spec).groups.step_sizes
    assert [attempt for attempt, _ in started] == [1, 2]
    assert started[1][1] >= 2
    assert [event.reason for event in trained if isinstance(event, ev.StageStopped)]
    assert epochs == [1, 2, 3, 4]
    assert [event.is_final for event in saved] == [False, False, False, True]
    assert [c.epoch for c in run.expert("main").checkpoints] == [1, 2, 3, 4]
