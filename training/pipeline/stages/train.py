"""train: train one expert's adapter, from the newest complete training state if there is one."""

import logging
import shutil
from pathlib import Path, PurePosixPath

from pydantic import TypeAdapter

from training import store_keys
from training.dataset.config.cache_names import text_name
from training.dataset.manifest import read_manifest
from training.dataset.report import Sample
from training.errors import NotFoundError, StageError
from training.files.atomic import atomic_write
from training.files.hashing import file_sha256
from training.files.safetensors_header import read_header
from training.musubi.state import STATE_FILE, TrainingState, damaged_file, read_state
from training.pipeline.child_process import Listener, LossBrokeError, run_command
from training.pipeline.run_requests import passing_on
from training.pipeline.stage_runner import StageContext, StageResult
from training.pipeline.stage_writes import Made
from training.pipeline.stages.cache import require_caches
from training.pipeline.stages.fetch import require_weight
from training.pipeline.stages.merge import link_merged, receipt_hash
from training.pipeline.stages.recorder import Recorder
from training.ports import StoreChanges
from training.remedies import LeaveOut, LowerRate, ResumeRun, StartRun
from training.runs.spec import ExpertSpec, RunSpec
from training.runs.training_events import LossBroke
from training.vocabulary import ExpertName

logger = logging.getLogger(__name__)
_LOWER_RATE = 0.3  # after a NaN or infinite loss, suggest this fraction of the learning rate
_COMMENT: TypeAdapter[dict[str, object]] = TypeAdapter(dict[str, object])


def run(context: StageContext) -> StageResult:
    """Train this stage's expert to its last epoch, or until a user ends its training early."""
    name, planner = context.expert, context.planner
    checkpoints = context.spec.keys.checkpoints(name)
    output_name = context.spec.output_name(name)
    final = f"{checkpoints}/{output_name}.safetensors"
    if context.runtime.store.exists(final):
        return StageResult(reused=True)
    _make_ready(context, name, checkpoints)
    state = newest_state(context.path(checkpoints), context.spec, name)
    state = state or _state_to_continue(context, name)
    asked = passing_on(context.runtime, context.runtime.log(*_run_of(context)).load())
    with Recorder(context, checkpoints, output_name) as recorder, asked as requests:
        try:
            run_command(
                planner.train_command(name, state, receipt_hash(context, name)),
                environment={**planner.environment(), **requests},
                log=recorder.log,
                stopping=context.stopping,
                listener=Listener(recorder.take, context.show_log),
                memory=planner.memory_use(name),
            )
        except LossBrokeError as error:
            if recorder.broken is None:
                raise
            raise _loss_broke(context, recorder.broken) from error
        finally:
            _keep_compiled(context)
    if PurePosixPath(final).name in recorder.spoiled:
        raise _spoiled(context, PurePosixPath(final).name)
    if not context.staging_path(final).exists():
        raise StageError(
            f"The trainer succeeded but wrote no {PurePosixPath(final).name}.",
            "This is a bug; the trainer's output is in the run's logs.",
        )
    return StageResult(made=Made(kept=recorder.written, events=recorder.timed()))


def _run_of(context: StageContext) -> tuple[str, str]:
    return context.spec.guild, context.spec.name


def _keep_compiled(context: StageContext) -> None:
    """Store the trainer's compiled graphs, replacing earlier files for the same GPU.

    If that fails, only log it, because training does not depend on these files.
    """
    key, store = store_keys.compiled(context.planner.engine.name), context.runtime.store
    try:
        # With a local store, the staging folder also holds the files of earlier runs.
        staged = store.staging_path(key).glob("[!.]*.tar")
        made = sorted(staged, key=lambda path: path.stat().st_mtime)
        newest = {_gpu_of(path.name): path.name for path in made}
        if not newest:
            return
        old = [name for name in store.names(key) if newest.get(_gpu_of(name), name) != name]
        kept = [f"{key}/{name}" for name in newest.values()]
        store.change(StoreChanges(kept=kept, deleted=[f"{key}/{name}" for name in old]))
    except OSError:
        logger.warning(
            "run %s: the compiled graphs could not be stored", context.spec.name, exc_info=True
        )


def _gpu_of(name: str) -> str:
    """Return the part of a compile-cache file's name that identifies the GPU."""
    return name.rpartition("-")[0]


def _loss_broke(context: StageContext, broken: LossBroke) -> StageError:
    """Return the error for a NaN or infinite loss.

    The error suggests leaving out the sample whose cache file is bad. If none is bad, it suggests a
    lower learning rate.
    """
    spec = context.spec
    folder = context.staging_path(spec.keys.caches)
    cause = (
        f"At step {broken.step} the loss became NaN or infinite, so training ended there. "
        "Checkpoints saved earlier are good."
    )
    for latents in (path for item in broken.items for path in sorted(folder.glob(f"*/{item}"))):
        sample = _sample(context, latents)
        texts = latents.with_name(text_name(_stem(sample)))
        for path in (latents, texts):
            if read_header(path).first_non_finite() is not None:
                return StageError(
                    f"{cause} Step {broken.step} trained on {sample.source}, whose cache file "
                    f"{path.name} contains NaN or infinite values.",
                    f"Leave {sample.source} out, or replace it and add the dataset again.",
                    LeaveOut(sample=sample.name),
                )
    items = f" Step {broken.step} trained on {', '.join(broken.items)}." if broken.items else ""
    return _with_a_lower_rate(context, cause + items)


def _spoiled(context: StageContext, name: str) -> StageError:
    """Return the error for a final checkpoint removed because of its NaN or infinite values."""
    return _with_a_lower_rate(
        context,
        f"Training finished, but its last checkpoint, {name}, contains NaN or infinite values, so "
        "it was removed. Checkpoints saved earlier are good.",
    )


def _with_a_lower_rate(context: StageContext, cause: str) -> StageError:
    rate = context.spec.expert(context.expert).settings.learning_rate * _LOWER_RATE
    return StageError(
        cause,
        "Continue from the last good state with a lower learning rate.",
        LowerRate(learning_rate=float(f"{rate:.2g}")),
    )


def _sample(context: StageContext, latents: Path) -> Sample:
    """Return the sample from which a latent cache file was made."""
    samples = read_manifest(context.path(context.planner.prepared_key)).samples
    folder = next(g.folder for g in context.planner.groups.groups if g.name == latents.parent.name)
    # musubi-tuner names the file STEM_SIZE_wan or, for a clip, STEM_WINDOW_SIZE_wan.
    found = (s for s in samples if s.folder == folder and latents.name.startswith(_stem(s) + "_"))
    return max(found, key=lambda sample: len(_stem(sample)))


def _stem(sample: Sample) -> str:
    return PurePosixPath(sample.name).stem


def _make_ready(context: StageContext, name: ExpertName, checkpoints: str) -> None:
    """Put the trainer's inputs in place, and clear its output folder of unfinished files."""
    folder = context.staging_path(checkpoints)
    folder.mkdir(exist_ok=True)
    _remove_leftovers(folder)
    require_caches(context)
    expert = context.spec.expert(name)
    if expert.speed_lora is None:
        require_weight(context, context.planner.model.expert(name).dit)
    link_merged(context, name)
    _require_start(context, expert)
    # Write the file again: the copy here may be damaged, or missing because the prepare stage ran
    # on another machine.
    config = context.staging_path(context.spec.keys.dataset_config)
    atomic_write(config, context.planner.dataset_toml().encode())


def _require_start(context: StageContext, expert: ExpertSpec) -> None:
    """Raise `StageError` unless the weights that an expert starts from are unchanged."""
    if expert.start is None:
        return
    path = context.path(context.spec.keys.initial_weights(expert.name, expert.start.sha256))
    if not path.is_file() or file_sha256(path) != expert.start.sha256:
        raise StageError(
            f"The run's copy of {expert.start.source}, its starting LoRA, is missing or damaged.",
            "Resume the run to copy the LoRA again.",
            ResumeRun(),
        )


def newest_state(folder: Path, spec: RunSpec, name: ExpertName) -> Path | None:
    """Return the newest undamaged training state of this run and expert, or None.

    A state with a sidecar was complete once, because the sidecar is written before the state gets
    its final name. A damaged state is skipped, since going back to an earlier state loses less than
    starting over.
    """
    records = {
        sidecar.parent: record
        for sidecar in folder.glob(f"*-state/{STATE_FILE}")
        if (record := _record_of(sidecar.parent, spec)) is not None
        and _origin(record.training_comment) == (spec.name, name)
    }
    newest_first = sorted(records, key=lambda state: (records[state].step, state), reverse=True)
    return next((s for s in newest_first if _is_whole(s, records[s], spec)), None)


def _record_of(state: Path, spec: RunSpec) -> TrainingState | None:
    try:
        return read_state(state)
    except ValueError as error:
        logger.warning("run %s: the state %s is damaged: %s", spec.name, state.name, error)
        return None


def _is_whole(state: Path, record: TrainingState, spec: RunSpec) -> bool:
    try:
        read_header(state / "model.safetensors")
        damaged = damaged_file(state, record)
    except (OSError, ValueError) as error:
        damaged = str(error)
    if damaged is not None:
        logger.warning("run %s: the state %s is damaged: %s", spec.name, state.name, damaged)
    return damaged is None


def _origin(comment: str | None) -> tuple[object, object] | None:
    """Return the run and expert in a state's comment; None if the comment is not our JSON."""
    try:
        facts: dict[str, object] = _COMMENT.validate_json(comment or "")
    except ValueError:
        return None
    return facts.get("run"), facts.get("expert")


def _state_to_continue(context: StageContext, name: ExpertName) -> Path | None:
    """Return the newest training state of the run that this run continues.

    If that run saved no state, look at the run that it continued in turn, and so on. Return None if
    no state is found.
    """
    spec = context.spec
    while spec.continues is not None:
        try:
            spec = context.runtime.log(spec.guild, spec.continues).spec()
        except NotFoundError as error:
            raise StageError(
                f"The run {spec.continues}, which {spec.name} continues, has been deleted, "
                "together with its training states.",
                "Start another run.",
                StartRun(),
            ) from error
        folder = context.path(spec.keys.checkpoints(name))
        if (state := newest_state(folder, spec, name)) is not None:
            return state
    return None


def _remove_leftovers(folder: Path) -> None:
    """Delete files and folders that a killed trainer left under temporary names (`.…`)."""
    for path in folder.iterdir():
        if path.name.startswith(".") and path.is_dir():
            shutil.rmtree(path)
        elif path.name.startswith("."):
            path.unlink()
