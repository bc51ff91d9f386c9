"""cache: make latents and text embeddings once for all runs, and link them for the trainer."""

from collections.abc import Mapping, Sequence
from time import monotonic

from pydantic import BaseModel, ConfigDict, ValidationError

from training import store_keys
from training.dataset.manifest import Manifest, read_manifest
from training.errors import DatasetError, StageError
from training.pipeline.child_process import Listener, run_command
from training.pipeline.stage_runner import StageContext, StageResult
from training.pipeline.stage_writes import Made
from training.pipeline.stages.cache_keys import CacheFile, Encoders, cache_files
from training.pipeline.stages.cache_making import CacheMaking, clean_caches, link_caches
from training.pipeline.stages.fetch import require_weight, sha256_of, show_tokenizers
from training.remedies import ResumeRun
from training.runs.training_events import CacheProgress, ProgressEvent
from training.store_keys import CacheKind
from training.vocabulary import StageKey


class _Receipt(BaseModel):
    """How many files of each kind were made, and the key of each file that the trainer reads."""

    model_config = ConfigDict(frozen=True)

    made: dict[str, int]
    files: dict[str, str]


def run(context: StageContext) -> StageResult:
    """Make the missing cache files, and link all files into the trainer's cache directories."""
    spec, planner = context.spec, context.planner
    encoders = _encoders(context)
    manifest = _manifest(context)
    files = cache_files(planner.groups, manifest, encoders, spec.guild)
    kinds: tuple[CacheKind, ...] = ("latents", "texts")
    made = {
        kind: _make(context, kind, files, encoders, command)
        for kind, command in zip(kinds, planner.cache_commands(), strict=True)
    }
    places = {file.place: file.key for file in files}
    _assemble(context, places)
    receipt = _Receipt(made=made, files=places)
    note = f"new latents: {made['latents']}, new captions: {made['texts']}"
    return StageResult(
        reused=not any(made.values()),
        note=note,
        made=Made(
            kept=[spec.keys.log(context.key, context.attempt)],
            records={spec.keys.receipt(context.key): receipt.model_dump_json(indent=1).encode()},
        ),
    )


def _manifest(context: StageContext) -> Manifest:
    try:
        return read_manifest(context.path(context.planner.prepared_key))
    except DatasetError as error:
        raise StageError(
            error.cause, "Resume the run to repair the dataset again.", ResumeRun()
        ) from error


def require_caches(context: StageContext) -> None:
    """Make the trainer's cache directories contain the run's files and no others."""
    spec = context.spec
    receipt = spec.keys.receipt(StageKey("cache"))
    try:
        data = context.runtime.store.read(receipt)
        places = _Receipt.model_validate_json(data).files
    except (FileNotFoundError, ValidationError) as error:
        raise StageError(
            "The list of the run's cache files is missing or damaged.",
            "Resume the run to cache the missing files again.",
            ResumeRun(),
        ) from error
    folder = context.staging_path(spec.keys.caches)
    # Links are missing if another machine did the caching.
    if not all((folder / place).exists() for place in places):
        _assemble(context, places)
    clean_caches(folder, set(places))


def _assemble(context: StageContext, places: Mapping[str, str]) -> None:
    folder = context.staging_path(context.spec.keys.caches)
    link_caches(folder, {place: context.path(key) for place, key in places.items()})


def _encoders(context: StageContext) -> Encoders:
    model, engine = context.planner.model, context.planner.engine
    clip = model.clip_weights
    return Encoders(
        engine=engine.name,
        version=engine.version,
        vae=sha256_of(context, model.vae),
        clip=sha256_of(context, clip) if clip is not None else None,
        i2v=model.i2v,
        t5=sha256_of(context, model.t5),
        clip_reader=engine.clip_reader(),
        after=context.spec.caches_after,
    )


def _make(
    context: StageContext,
    kind: CacheKind,
    files: Sequence[CacheFile],
    encoders: Encoders,
    command: tuple[str, ...],
) -> int:
    """Make the missing cache files of one kind; return how many were stored."""
    making = CacheMaking(context.runtime.store, context.spec, kind)
    kept = making.finish()  # store the files that a killed attempt completed
    if not making.missing(files):
        return kept
    # Runs of a guild that use equal encoders take turns, so that no sample is encoded twice.
    guild = context.spec.guild
    with context.shared(store_keys.caches(guild), f"caches/{guild}/{encoders.address(kind)}"):
        missing = making.missing(files)
        if not missing:
            return kept
        _require_weights(context)
        show_tokenizers(context)
        making.start(missing, files, context.path(context.planner.prepared_key))
        try:
            _run(context, making, command)
        finally:
            kept += making.finish()
        context.runtime.store.refresh(store_keys.caches(guild))
    if lacking := making.missing(files):
        raise StageError(
            f"Caching left {len(lacking)} of {len(missing)} files missing, such as "
            f"{lacking[0].place}.",
            "This is a bug in the caching; report it with the run's logs.",
        )
    return kept


def _require_weights(context: StageContext) -> None:
    model = context.planner.model
    for weight in (model.vae, model.t5, model.clip_weights):
        if weight is not None:
            require_weight(context, weight)


def _run(context: StageContext, making: CacheMaking, command: tuple[str, ...]) -> None:
    stored_at = monotonic()

    def on_event(event: ProgressEvent) -> None:
        nonlocal stored_at
        if not isinstance(event, CacheProgress):
            return
        context.report_progress({"done": event.done, "total": event.total})
        if monotonic() - stored_at >= context.runtime.cache_seconds:
            making.store_finished()
            stored_at = monotonic()

    log = context.spec.keys.log(context.key, context.attempt)
    try:
        run_command(
            command,
            environment=context.planner.environment(),
            log=context.staging_path(log),
            stopping=context.stopping,
            listener=Listener(on_event, context.show_log),
            memory=context.planner.memory_use(),
        )
    except BaseException:
        context.runtime.store.keep(log)
        raise
