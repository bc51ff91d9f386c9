"""One line per stage of a run: symbol, name and state."""

from collections.abc import Mapping
from typing import assert_never

from bot.messages.figures import percent
from training.files.sizes import size
from training.pipeline.run_view import Progress, RunView
from training.runs.state import StageState, StageStatus
from training.vocabulary import StageKey, StageName
from training.wording import count

DONE, WORKING, WAITING, LATER, AGAIN, FAILED, STOPPED = "✓", "▸", "○", "·", "↻", "✗", "–"  # noqa: RUF001  # symbols
FLAWED = "⚠"

_TITLES: Mapping[StageName, str] = {
    "prepare": "Prepare the dataset",
    "fetch": "Fetch the weights",
    "cache": "Cache the dataset",
    "merge": "Merge Lightning",
    "train": "Train",
    "publish": "Check the files",
}


def stage_title(key: StageKey) -> str:
    """Return the name of a stage as shown to users, with its expert if the model has two."""
    title = _TITLES[key.stage]
    return title if key.expert in (None, "main") else f"{title}, {key.expert}"


def stage_line(view: RunView, key: StageKey) -> str:
    """Return the state of one stage as a line."""
    stage = view.run.stage(key)
    symbol, words = _state(view, key, stage)
    again = f" ({_attempts(stage)})" if stage.attempt > 1 else ""
    return f"{symbol} {stage_title(key)}: {words}{again}"


def _attempts(stage: StageState) -> str:
    times = stage.attempt - 1
    interrupted = "an interruption" if times == 1 else count(times, "interruption")
    if stage.status is StageStatus.RUNNING:
        return f"resumed after {interrupted}, attempt {stage.attempt}"
    return f"after {interrupted}"


def _state(view: RunView, key: StageKey, stage: StageState) -> tuple[str, str]:
    is_over = view.run.status.is_final
    match stage.status:
        case StageStatus.SUCCEEDED:
            return DONE, _done(key, stage)
        case StageStatus.FAILED:
            return FAILED, "failed"
        case StageStatus.PENDING:
            return (STOPPED, "not run") if is_over else (LATER, "not started")
        case StageStatus.SUBMITTED | StageStatus.RUNNING | StageStatus.INTERRUPTED if is_over:
            return STOPPED, "stopped"
        case StageStatus.SUBMITTED:
            position = view.positions.get(key)
            queue = "GPU" if key.stage in ("cache", "train") else "CPU"
            place = f", position {position} in the {queue} queue" if position else ""
            return WAITING, f"queued{place}"
        case StageStatus.RUNNING:
            return WORKING, _running(view, key)
        case StageStatus.INTERRUPTED:
            return AGAIN, "interrupted; resumes automatically"
        case _:
            assert_never(stage.status)


def _done(key: StageKey, stage: StageState) -> str:
    if key.stage == "merge" and stage.note:
        return f"{stage.note}, reused" if stage.reused else stage.note
    if stage.reused:
        return "reused"
    return f"done, {stage.note}" if stage.note else "done"


def _running(view: RunView, key: StageKey) -> str:
    newest = view.progress.get(key, Progress())
    match key.stage:
        case "merge":
            layers = f"{_parts(newest, 'layers')}, " if newest.total else ""
            return f"merging on CPU, {layers}no GPU billed"
        case "train":
            if key.expert is None or key not in view.progress:
                return "loading the model"
            expert = view.expert(key.expert)
            return percent(expert.step, expert.total_steps)
        case "cache":
            return _parts(newest, "items") if newest.total else "starting"
        case "fetch":
            if not newest.total:
                return "running"
            return f"{size(newest.done)} of {size(newest.total)}"
        case "prepare" | "publish":
            return _parts(newest, "files") if newest.total else "running"
        case _:
            assert_never(key.stage)


def _parts(newest: Progress, what: str) -> str:
    return f"{newest.done:,}/{newest.total:,} {what}"
