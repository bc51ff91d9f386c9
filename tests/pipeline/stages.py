"""One installation whose stages a test runs itself, one by one, in the test's process."""

import json
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bot.hosting.local import LocalInstallation
from bot.settings import Settings
from tests.media import write_zip
from tests.pipeline.home import GUILD
from training import store_keys
from training.operations.run_drafts import Requester
from training.pipeline.advance import advance
from training.pipeline.stage_runner import run_stage
from training.pipeline.stages.functions import stage_function
from training.registry.dataset_draft import Upload
from training.runs.spec import RunSpec, TrainRequest
from training.runs.state import StageState, StageStatus
from training.vocabulary import StageKey


class IdleRuntime(LocalInstallation):
    """A home without a worker service: calls stay queued until the test runs them."""

    def ensure_worker(self) -> None:
        pass


class Stages:
    """Runs stages of rehearsals on datasets that a test changes."""

    def __init__(self, folder: Path, runtime: type[IdleRuntime] = IdleRuntime) -> None:
        self.local = runtime(Settings(home=folder / "home"))
        self._zip = folder / "dataset.zip"

    def upload(self, files: Mapping[str, bytes | str]) -> None:
        """Store the next version of the dataset annika."""
        write_zip(self._zip, files)
        upload = Upload(archive=self._zip, by="7", file_name="annika.zip")
        self.local.datasets.add(GUILD, "annika", upload)

    def start(self, model: str = "wan21-t2v-1-3b", dataset_toml: str | None = None) -> RunSpec:
        """Start a run of one epoch on the newest version, and run the stages that caching needs."""
        return self.make_ready(self.begin(model, dataset_toml))

    def make_ready(self, spec: RunSpec) -> RunSpec:
        """Run the stages that caching needs."""
        for name in ("prepare", "fetch"):
            assert self.run(spec, StageKey(name)) is StageStatus.SUCCEEDED
        return spec

    def begin(self, model: str = "wan21-t2v-1-3b", dataset_toml: str | None = None) -> RunSpec:
        """Start a run of one epoch on the newest version."""
        request = TrainRequest(
            model=model, dataset="annika", dataset_toml=dataset_toml, settings={"epochs": "1"}
        )
        return self.local.runs.start(request, Requester(guild=GUILD, by="7"), "rehearsal")

    def cache(self, spec: RunSpec) -> Mapping[str, int]:
        """Run the cache stage and return how many files of each kind it made."""
        assert self.run(spec, StageKey("cache")) is StageStatus.SUCCEEDED, self.cause(spec)
        return self.receipt(spec)["made"]

    def run(self, spec: RunSpec, key: StageKey) -> StageStatus | None:
        """Run one queued attempt of a stage."""
        number = int(self.state(spec, key).handle)
        call = self.local.backend.call(number)
        status = run_stage(self.local.runtime, call, stage_function(key.stage), threading.Event())
        self.local.backend.mark_ended(number)
        return status

    def start_process(self, spec: RunSpec, key: StageKey) -> subprocess.Popen[bytes]:
        """Start one attempt of a stage as the worker service does."""
        number = int(self.state(spec, key).handle)
        home = str(self.local.home)
        command = ["-m", "bot.hosting.worker", "stage", "--home", home, "--call", str(number)]
        return subprocess.Popen([sys.executable, *command])

    def bury(self, spec: RunSpec, key: StageKey) -> None:
        """Mark a killed attempt as ended and expire its lease, as the worker and time would."""
        for lease in (self.local.home / "leases").iterdir():
            lease.unlink()
        self.local.backend.mark_ended(int(self.state(spec, key).handle))
        advance(self.local.runtime, spec.guild, spec.name)

    def state(self, spec: RunSpec, key: StageKey) -> StageState:
        """Return the state of a stage."""
        return self.local.runtime.log(spec.guild, spec.name).load().stage(key)

    def cause(self, spec: RunSpec) -> str:
        """Return why the run failed."""
        return self.local.runtime.log(spec.guild, spec.name).load().cause

    def receipt(self, spec: RunSpec) -> dict[str, Any]:
        """Return the cache stage's receipt."""
        key = spec.keys.receipt(StageKey("cache"))
        return json.loads(self.local.runtime.store.read(key))

    def folder(self, spec: RunSpec) -> Path:
        """Return the cache folders that the run's trainer reads."""
        return self.local.runtime.store.path(spec.keys.caches)

    def stored(self, kind: store_keys.CacheKind) -> list[Path]:
        """Return the files of one kind in the guild's store."""
        return sorted(self.local.home.glob(f"guilds/{GUILD}/caches/{kind}/*/*.safetensors"))
