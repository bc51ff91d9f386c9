"""Fills a store with months of runs and datasets in a few uploads, for tests."""

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import TypeAdapter

from tests import specs
from tests.wire.modal.hosting import Hosting
from training import store_keys
from training.pipeline.run_view import RunView, stage_keys
from training.registry.datasets import DatasetVersion
from training.runs import events as ev
from training.runs.event_log import ADVANCE
from training.runs.events import Event
from training.runs.spec import RunSpec
from training.runs.state import fold
from training.runs.training_events import CheckpointSaved, EpochEnded
from training.vocabulary import StageKey

OPEN, ENDED, DATASETS, VERSIONS = 10, 60, 12, 3
_LINE: TypeAdapter[object] = TypeAdapter(object)
_BEGAN = datetime(2026, 3, 1, tzinfo=UTC)


def fill(hosted: Hosting) -> None:
    """Store runs that are open and runs that ended, and datasets of several versions."""
    with tempfile.TemporaryDirectory() as folder:
        root, store = Path(folder), hosted.runtime.runtime.store
        for number in range(OPEN + ENDED):
            _write_run(root / "runs", _spec(hosted, number), is_open=number < OPEN)
        for number in range(OPEN):
            _write(root / "open" / f"{hosted.guild}~{_name(number)}", b"")
        for number in range(DATASETS):
            _write_dataset(root / "datasets", f"set-{number}")
        store.put_tree(store_keys.runs(hosted.guild), root / "runs")
        store.put_tree(store_keys.OPEN_RUNS, root / "open")
        store.put_tree(store_keys.datasets(hosted.guild), root / "datasets")


def _name(number: int) -> str:
    return f"run-{number}"


def _spec(hosted: Hosting, number: int) -> RunSpec:
    created_at = _BEGAN - timedelta(hours=number)
    asked = {"name": _name(number), "guild": hosted.guild, "channel": hosted.channel}
    asked |= {"requested_by": hosted.place.owner, "created_at": created_at}
    return specs.spec("wan21-t2v-1-3b").model_copy(update=asked)


def _write_run(root: Path, spec: RunSpec, *, is_open: bool) -> None:
    """Write the files of a finished run of five stages, or of a run that trains."""
    folder = root / spec.name
    for number, key in enumerate(stage_keys(spec), 1):
        submitted = ev.StageEvent(
            at=_BEGAN, key=key, attempt=1, body=ev.StageSubmitted(handle=f"{spec.name}-{key}")
        )
        _write_events(folder, f"{ADVANCE}-{number}", submitted)
        if is_open and key.stage == "train":
            _write_events(folder, f"{key}-1", *_training(key))
            break
        started = ev.StageEvent(at=_BEGAN, key=key, attempt=1, body=ev.StageStarted())
        _write_events(
            folder,
            f"{key}-1",
            started,
            ev.StageEvent(at=_BEGAN, key=key, attempt=1, body=ev.StageSucceeded()),
        )
    if not is_open:
        _write_events(folder, "train-main-2", *map(_checkpoint, range(1, 6)))
        _write_events(folder, f"{ADVANCE}-9", ev.RunSucceeded(at=_BEGAN))
        _write(folder / "ended", _summary(spec).encode())
    _write(folder / "inputs" / "report.json", specs.report().model_dump_json().encode())
    _write(folder / "spec.json", spec.model_dump_json().encode())


def _training(key: StageKey) -> list[Event]:
    started = ev.StageEvent(at=_BEGAN, key=key, attempt=1, body=ev.StageStarted())
    ended = ev.StageEvent(
        at=_BEGAN, key=key, attempt=1, body=EpochEnded(epoch=1, step=10, loss=0.1)
    )
    return [started, ended]


def _summary(spec: RunSpec) -> str:
    run = fold(spec, [ev.RunSucceeded(at=_BEGAN)])
    view = RunView(run=run, keys=stage_keys(spec), progress={}, positions={})
    return view.summary(_BEGAN).model_dump_json()


def _checkpoint(epoch: int) -> Event:
    return ev.StageEvent(
        at=_BEGAN,
        key=StageKey("train", "main"),
        attempt=2,
        body=CheckpointSaved(
            path=f"checkpoints/main/lora-e{epoch}.safetensors",
            epoch=epoch,
            step=10 * epoch,
            size_bytes=1,
            is_final=True,
        ),
    )


def _write_events(folder: Path, writer: str, *events: Event) -> None:
    lines = b"".join(_LINE.dump_json(event) + b"\n" for event in events)
    _write(folder / "events" / f"{writer}.jsonl", lines)


def _write_dataset(root: Path, name: str) -> None:
    for number in range(1, VERSIONS + 1):
        version = DatasetVersion(
            name=name,
            number=number,
            version=f"{number:032x}",
            images=2,
            clips=2,
            added_at=_BEGAN,
            added_by="1",
            file_name=f"{name}.zip",
        )
        folder = root / name / str(number)
        _write(folder / store_keys.MANIFEST, version.model_dump_json().encode())
        _write(folder / store_keys.REPORT, specs.report().model_dump_json().encode())


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
