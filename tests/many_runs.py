"""A home with very many runs, written as files, for tests and measurements."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import TypeAdapter

from tests import specs
from training.files.hashing import file_crc32
from training.pipeline.run_view import Progress, RunView, stage_keys
from training.runs import events as ev
from training.runs.event_log import ADVANCE
from training.runs.events import Event
from training.runs.spec import RunSpec
from training.runs.state import fold
from training.runs.training_events import CheckpointSaved, EpochEnded
from training.vocabulary import StageKey

TRAIN = StageKey("train", "main")
_BEGAN = datetime(2026, 3, 1, tzinfo=UTC)
_LINE: TypeAdapter[Event] = TypeAdapter(Event)


@dataclass(frozen=True)
class Crowd:
    """Runs of one guild, below the home folder `root`."""

    root: Path
    guild: str
    owner: str

    def add_ended(
        self, number: int, channel: str, apart: timedelta = timedelta(minutes=1)
    ) -> RunSpec:
        """Write a run that ended and was announced; the next number's was created `apart` later."""
        spec = self._spec(f"ended-{number}", channel, _BEGAN + number * apart)
        end = ev.RunSucceeded(at=spec.created_at + timedelta(minutes=30))
        self._write_spec(spec)
        self._write_events(spec, f"{ADVANCE}-1", end)
        view = RunView(run=fold(spec, [end]), keys=stage_keys(spec), progress={}, positions={})
        self._write(spec.keys.ended, view.summary(spec.created_at).model_dump_json().encode())
        return spec

    def add_live(self, number: int, channel: str) -> RunSpec:
        """Write a run that trains."""
        spec = self._spec(f"live-{number}", channel, datetime.now(UTC) - timedelta(hours=2))
        self._write(spec.keys.open, b"")
        self._write(spec.keys.unannounced, b"")
        self._write_spec(spec)
        for count, key in enumerate(stage_keys(spec), 1):
            handle = f"{spec.name}-{key}"
            self._write_events(
                spec, f"{ADVANCE}-{count}", self._event(spec, key, ev.StageSubmitted(handle=handle))
            )
            started = self._event(spec, key, ev.StageStarted())
            if key == TRAIN:
                epochs = [EpochEnded(epoch=n, step=10 * n, loss=0.1) for n in range(1, 20)]
                ended = [self._event(spec, key, epoch) for epoch in epochs]
                self._write_events(spec, f"{key}-1", started, *ended)
                break
            done = self._event(spec, key, ev.StageSucceeded())
            self._write_events(spec, f"{key}-1", started, done)
        self.progress(spec, 190)
        return spec

    def add_queued(
        self, number: int, channel: str, submit: Callable[[RunSpec, StageKey], str]
    ) -> RunSpec:
        """Write a run whose first stage waits for its turn."""
        spec = self._spec(f"queued-{number}", channel, datetime.now(UTC) - timedelta(hours=1))
        self._write(spec.keys.open, b"")
        self._write(spec.keys.unannounced, b"")
        self._write_spec(spec)
        key = StageKey("prepare")
        body = ev.StageSubmitted(handle=submit(spec, key))
        self._write_events(spec, f"{ADVANCE}-1", self._event(spec, key, body))
        return spec

    def add_checkpoints(self, spec: RunSpec, size_bytes: int, epochs: int) -> None:
        """Write checkpoints of a run; they hold zeros, which take no space on the disk."""
        saved = list[Event]()
        for epoch in range(1, epochs + 1):
            file = f"checkpoints/main/{spec.name}-{epoch:06d}.safetensors"
            path = self.root / spec.keys.folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as stream:
                stream.truncate(size_bytes)
            body = CheckpointSaved(
                path=file,
                epoch=epoch,
                step=epoch,
                size_bytes=size_bytes,
                crc32=file_crc32(path),
                is_final=False,
            )
            saved.append(self._event(spec, TRAIN, body))
        self._write_events(spec, f"{TRAIN}-1", *saved)

    def progress(self, spec: RunSpec, step: int) -> None:
        value = Progress(step=step, total_steps=500, epoch=step // 10, loss=0.1, attempt=1)
        key = spec.keys.progress(TRAIN)
        aside = self.root / f"{key}.new"
        self._write(f"{key}.new", value.model_dump_json().encode())
        aside.replace(self.root / key)

    def begin(self, spec: RunSpec) -> None:
        """Let the first stage of a run that somebody started begin."""
        key = StageKey("prepare")
        self._write_events(spec, f"{key}-1", self._event(spec, key, ev.StageStarted()))

    def end(self, spec: RunSpec) -> None:
        """End a live run."""
        self._write_events(spec, f"{ADVANCE}-9", ev.RunSucceeded(at=datetime.now(UTC)))
        (self.root / spec.keys.open).unlink()

    def _spec(self, name: str, channel: str, created_at: datetime) -> RunSpec:
        asked = {"name": name, "guild": self.guild, "channel": channel}
        asked |= {"requested_by": self.owner, "created_at": created_at}
        return specs.spec("wan21-t2v-1-3b").model_copy(update=asked)

    def _event(self, spec: RunSpec, key: StageKey, body: ev.StageBody) -> Event:
        return ev.StageEvent(at=spec.created_at, key=key, attempt=1, body=body)

    def _write_spec(self, spec: RunSpec) -> None:
        self._write(spec.keys.report, specs.report().model_dump_json().encode())
        self._write(spec.keys.spec, spec.model_dump_json().encode())

    def _write_events(self, spec: RunSpec, writer: str, *events: Event) -> None:
        lines = b"".join(_LINE.dump_json(event) + b"\n" for event in events)
        self._write(f"{spec.keys.events}/{writer}.jsonl", lines)

    def _write(self, key: str, data: bytes) -> None:
        path = self.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
