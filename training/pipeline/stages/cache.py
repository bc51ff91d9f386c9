"""cache: make latents and text embeddings once, and link them for the run's trainer."""

import json
from collections.abc import Mapping, Sequence

from training import store_keys
from training.dataset.manifest import read_manifest
from training.errors import StageError
from training.pipeline.child_process import Listener, run_command
from training.pipeline.stage_runner import StageContext, StageResult
from training.pipeline.stages.cache_keys import CacheFile, Encoders, cache_files
from training.pipeline.stages.cache_links import assemble, clean
from training.pipeline.stages.cache_making import CacheMaking
from training.pipeline.stages.fetch import sha256_of, show_tokenizers
from training.runs.training_events import CacheProgress, ProgressEvent
from training.store_keys import CacheKind
from training.vocabulary import StageKey


def run(context: StageContext) -> StageResult:
    """Make missing cache files, and the cache directories that the trainer reads."""
    spec, planner, store = context.spec, context.planner, context.runtime.store
    encoders = _encoders(context)
    manifest = read_manifest(context.path(planner.prepared_key))
    files = cache_files(planner.groups, manifest, encoders, spec.guild)
    kinds: tuple[CacheKind, ...] = ("latents", "texts")
    made = {
        kind: _make(context, kind, files, encoders, command)
        for kind, command in zip(kinds, planner.cache_commands(), strict=True)
    }
    places = {file.place: file.key for file in files}
    _assemble(context, places)
    facts = {"made": made, "files": places}
    receipt = spec.keys.receipt(context.key)
    store.write(receipt, json.dumps(facts, indent=1).encode())
    note = f"new latents: {made['latents']}, new captions: {made['texts']}"
    return StageResult(reused=not any(made.values()), note=note)


def require_caches(context: StageContext) -> None:
    """Ensure that the trainer's cache directories hold exactly the run's files.

    Raises:
        StageError: A file is missing or damaged.
    """
    spec = context.spec
    receipt = spec.keys.receipt(StageKey("cache"))
    places: dict[str, str] = json.loads(context.runtime.store.read(receipt))["files"]
    folder = context.staging_path(spec.keys.caches)
    if not folder.exists():  # caching ran on another machine
        _assemble(context, places)
    clean(folder, set(places))


def _assemble(context: StageContext, places: Mapping[str, str]) -> None:
    folder = context.staging_path(context.spec.keys.caches)
    assemble(folder, {place: context.path(key) for place, key in places.items()})


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
        after=context.spec.caches_after,
    )


def _make(
    context: StageContext,
    kind: CacheKind,
    files: Sequence[CacheFile],
    encoders: Encoders,
    command: tuple[str, ...],
) -> int:
    """Make the missing files of one kind and return their number."""
    making = CacheMaking(context.runtime.store, context.spec, kind)
    kept = making.finish()  # files of a killed attempt
    if not making.missing(files):
        return kept
    # In a guild one run at a time uses the same encoders, so nothing is encoded twice.
    guild = context.spec.guild
    with context.shared(f"caches/{guild}/{encoders.address(kind)}", store_keys.caches(guild)):
        missing = making.missing(files)
        if not missing:
            return kept
        show_tokenizers(context)
        making.start(missing, files, context.path(context.planner.prepared_key))
        try:
            _run(context, command)
        finally:
            kept += making.finish()
    if lacking := making.missing(files):
        raise StageError(
            f"Caching left {len(lacking)} of {len(missing)} files missing, such as "
            f"{lacking[0].place}.",
            "This is a bug in the prediction or the caching; report it with the run's logs.",
        )
    return kept


def _run(context: StageContext, command: tuple[str, ...]) -> None:
    def on_event(event: ProgressEvent) -> None:
        if isinstance(event, CacheProgress):
            context.report_progress(json.dumps({"done": event.done, "total": event.total}).encode())

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
    finally:
        context.runtime.store.keep(log)
