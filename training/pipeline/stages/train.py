"""train: one expert's adapter, resuming from the newest complete training state."""

import logging
import shutil
from pathlib import Path, PurePosixPath

from pydantic import TypeAdapter

from training.errors import StageError
from training.files.safetensors_header import read_header
from training.musubi.state import STATE_FILE, read_state
from training.pipeline.child_process import Listener, run_command
from training.pipeline.stage_runner import StageContext, StageResult
from training.pipeline.stages.cache import require_caches
from training.pipeline.stages.merge import link_merged, receipt_hash
from training.pipeline.stages.recorder import Recorder
from training.runs.spec import RunSpec
from training.vocabulary import ExpertName

logger = logging.getLogger(__name__)
_COMMENT: TypeAdapter[dict[str, object]] = TypeAdapter(dict[str, object])


def run(context: StageContext) -> StageResult:
    """Train the expert of this stage to its last epoch."""
    name = _expert(context)
    planner = context.planner
    checkpoints = context.spec.keys.checkpoints(name)
    output_name = context.spec.output_name(name)
    final = f"{checkpoints}/{output_name}.safetensors"
    if context.runtime.store.exists(final):
        return StageResult(reused=True)
    _make_ready(context, name, checkpoints)
    state = newest_state(context.path(checkpoints), context.spec, name)
    state = state or _state_to_continue(context, name)
    with Recorder(context, checkpoints, output_name) as recorder:
        run_command(
            planner.train_command(name, state, receipt_hash(context, name)),
            environment=planner.environment(),
            log=recorder.log,
            stopping=context.stopping,
            listener=Listener(recorder.take, context.show_log),
            memory=planner.memory_use(name),
        )
    if not context.runtime.store.exists(final):
        raise StageError(
            f"The trainer ended well but left no {PurePosixPath(final).name}.",
            "This is a bug; the operator finds what it printed in the run's logs.",
        )
    return StageResult()


def _make_ready(context: StageContext, name: ExpertName, checkpoints: str) -> None:
    """Prepare the trainer's inputs and an output folder without leftovers."""
    folder = context.staging_path(checkpoints)
    folder.mkdir(exist_ok=True)
    _remove_leftovers(folder)
    require_caches(context)
    link_merged(context, name)
    config = context.staging_path(context.spec.keys.dataset_config)
    if not config.exists():  # the dataset was prepared on another machine
        config.write_text(context.planner.dataset_toml(), "utf-8")


def newest_state(folder: Path, spec: RunSpec, name: ExpertName) -> Path | None:
    """Return the newest training state of this run and expert, or None.

    A state with its sidecar is complete, because the sidecar is written before the rename. A
    damaged state is skipped: the one before it costs less than starting over.
    """
    found = [
        (steps, sidecar.parent)
        for sidecar in folder.glob(f"*-state/{STATE_FILE}")
        if (steps := _steps_of(sidecar.parent, spec, name)) is not None
    ]
    return max(found)[1] if found else None


def _steps_of(state: Path, spec: RunSpec, name: ExpertName) -> int | None:
    """Return the steps of a state; None if it is damaged or of another run or expert."""
    try:
        record = read_state(state)
        read_header(state / "model.safetensors")
    except (OSError, ValueError) as error:
        logger.warning("run %s: the state %s is damaged: %s", spec.name, state.name, error)
        return None
    return record.step if _origin(record.training_comment) == (spec.name, name) else None


def _origin(comment: str | None) -> tuple[object, object] | None:
    """Return the run and expert in a state's comment; None if it is not ours."""
    try:
        facts: dict[str, object] = _COMMENT.validate_json(comment or "")
    except ValueError:
        return None
    return facts.get("run"), facts.get("expert")


def _state_to_continue(context: StageContext, name: ExpertName) -> Path | None:
    """Return the newest state of the runs that this one continues, the latest run first."""
    spec = context.spec
    while spec.continues is not None:
        spec = context.runtime.log(spec.guild, spec.continues).spec()
        folder = context.path(spec.keys.checkpoints(name))
        if (state := newest_state(folder, spec, name)) is not None:
            return state
    return None


def _remove_leftovers(folder: Path) -> None:
    """Delete what a killed trainer left under temporary names."""
    for path in folder.iterdir():
        if path.name.startswith(".") and path.is_dir():
            shutil.rmtree(path)
        elif path.name.startswith("."):
            path.unlink()


def _expert(context: StageContext) -> ExpertName:
    if context.key.expert is None:
        raise ValueError("train is a stage of one expert")
    return context.key.expert
