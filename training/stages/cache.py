"""cache: latents and text embeddings, once for every run on the same dataset and settings."""

import json
from pathlib import Path

from training import layout
from training.child import run_command
from training.errors import StageError
from training.musubi.progress import CacheProgress, ProgressEvent
from training.stage import StageContext, StageResult
from training.tensor_header import read_header

_COMPLETE = "complete.json"


def run(context: StageContext) -> StageResult:
    """Fill the caches, unless a marker says that they are complete."""
    planner, store = context.planner, context.house.store
    marker = f"{planner.cache_key}/{_COMPLETE}"
    with context.shared(planner.cache_key):
        if store.exists(marker):
            return StageResult(reused=True)
        folder = context.path(planner.cache_key)
        folder.mkdir(parents=True, exist_ok=True)
        drop_truncated(folder)
        for command in planner.cache_commands():
            _run(context, command)
        expected = sum(len(group.items) for group in planner.groups.groups)
        found = count_latents(folder)
        if found != expected:
            raise StageError(
                f"The caches hold {found} training items where the dataset has {expected}.",
                "This is a bug in the prediction or the caching; report it with the run's logs.",
            )
        store.write(marker, json.dumps({"items": found}).encode())
    return StageResult(note=f"{found} items")


def drop_truncated(folder: Path) -> None:
    """Remove cache files that an interrupted attempt left incomplete.

    The cache scripts skip what exists without looking into it.
    """
    for path in folder.rglob("*.safetensors"):
        if not _is_complete(path):
            path.unlink()


def count_latents(folder: Path) -> int:
    """Return how many latent files lie in the cache folders."""
    return sum(1 for _ in folder.rglob("*_wan.safetensors"))


def _is_complete(path: Path) -> bool:
    try:
        read_header(path)
    except ValueError:
        return False
    return True


def _run(context: StageContext, command: tuple[str, ...]) -> None:
    def on_event(event: ProgressEvent) -> None:
        if isinstance(event, CacheProgress):
            context.report_progress(json.dumps({"done": event.done, "total": event.total}).encode())

    log = layout.log(context.spec.guild, context.spec.name, context.key, context.attempt)
    run_command(
        command,
        environment=context.planner.engine.environment(),
        log=context.path(log),
        stopping=context.stopping,
        on_event=on_event,
        memory=context.planner.memory_use(),
    )
