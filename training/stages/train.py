"""train: one expert's adapter, going on from the newest complete training state."""

import json
import shutil
from pathlib import Path, PurePosixPath

from training import layout
from training.catalogue import ExpertName
from training.child import run_command
from training.errors import StageError
from training.request import RunSpec
from training.stage import StageContext, StageResult
from training.stages.cache import require_caches
from training.stages.merge import link_merged, receipt_hash
from training.stages.recorder import Recorder


def run(context: StageContext) -> StageResult:
    """Train the expert of this stage to its last epoch."""
    name = _expert(context)
    planner = context.planner
    checkpoints = layout.checkpoints(context.spec.guild, context.spec.name, name)
    output_name = context.spec.output_name(name)
    final = f"{checkpoints}/{output_name}.safetensors"
    if context.house.store.exists(final):
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
            on_event=recorder.take,
            memory=planner.memory_use(name),
        )
    if not context.house.store.exists(final):
        raise StageError(
            f"The trainer ended well but left no {PurePosixPath(final).name}.",
            "This is a bug; the operator finds what it printed in the run's logs.",
        )
    return StageResult()


def _make_ready(context: StageContext, name: ExpertName, checkpoints: str) -> None:
    """Lay out what the trainer reads, and an output folder without another one's leftovers."""
    folder = context.workshop(checkpoints)
    folder.mkdir(exist_ok=True)
    _remove_leftovers(folder)
    require_caches(context)
    link_merged(context, name)
    config = context.workshop(layout.dataset_config(context.spec.guild, context.spec.name))
    if not config.exists():  # the dataset was prepared on another machine
        config.write_text(context.planner.dataset_toml(), "utf-8")


def newest_state(folder: Path, spec: RunSpec, name: ExpertName) -> Path | None:
    """Return the training state of this run and expert with the most steps, if there is one.

    A state is complete when its sidecar is there, which is written into it before the rename.
    """
    found: list[tuple[int, Path]] = []
    for sidecar in folder.glob("*-state/training_state.json"):
        facts = json.loads(sidecar.read_text("utf-8"))
        origin = json.loads(facts["training_comment"])
        if (origin["run"], origin["expert"]) == (spec.name, name):
            found.append((int(facts["step"]), sidecar.parent))
    return max(found)[1] if found else None


def _state_to_continue(context: StageContext, name: ExpertName) -> Path | None:
    """Return the newest state of the runs that this one goes on with, the last one first."""
    spec = context.spec
    while spec.continues is not None:
        spec = context.house.log(spec.guild, spec.continues).spec()
        folder = context.path(layout.checkpoints(spec.guild, spec.name, name))
        if (state := newest_state(folder, spec, name)) is not None:
            return state
    return None


def _remove_leftovers(folder: Path) -> None:
    """Remove what a killed trainer was writing: it never got its final name."""
    for path in folder.iterdir():
        if path.name.startswith(".") and path.is_dir():
            shutil.rmtree(path)
        elif path.name.startswith("."):
            path.unlink()


def _expert(context: StageContext) -> ExpertName:
    if context.key.expert is None:
        raise ValueError("train is a stage of one expert")
    return context.key.expert
