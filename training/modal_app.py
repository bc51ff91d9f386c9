"""The stages as Functions on Modal: images, Volumes, resources and one call each; no logic.

`LORABOT_MODAL_APP` names the deployment and `LORABOT_ENGINE` the engine. Both, and the stage
settings, are read at deploy time and passed to every Function.
"""

import functools
import os
from typing import TYPE_CHECKING, Any

import modal

from training.deployment.code_version import STAGES_CODE, labels
from training.deployment.modal_images import gpu_image, merge_image, stage_image
from training.deployment.names import HUB_KEYS, Deployment
from training.deployment.resources import FUNCTIONS, STARTUP_SECONDS, FunctionName
from training.pipeline.settings import STAGE_VARIABLES, chosen

if TYPE_CHECKING:
    from storage.modal.runtime import ModalRuntime

DEPLOYMENT = Deployment.from_env(os.environ)
HUB_SECRET = modal.Secret.from_name(DEPLOYMENT.hub_secret, required_keys=list(HUB_KEYS))
_VOLUMES = {
    area: modal.Volume.from_name(DEPLOYMENT.volume(area), create_if_missing=True)
    for area in DEPLOYMENT.areas
}
_CPU, _MERGE = stage_image(), merge_image()
# The rehearsal engine trains on the CPU, with the container's own interpreter.
_GPU = gpu_image() if DEPLOYMENT.engine == "musubi" else _MERGE
app = modal.App(
    DEPLOYMENT.stages_app,
    tags=labels(DEPLOYMENT, *STAGES_CODE) if modal.is_local() else None,
)


def _options(name: FunctionName, image: modal.Image) -> dict[str, Any]:
    resources = FUNCTIONS[name]
    return {
        "image": image,
        "gpu": list(resources.gpu) or None,
        "cpu": resources.cpu,
        "memory": round(resources.memory_gib * 1024),
        "timeout": resources.timeout_seconds,
        "startup_timeout": min(STARTUP_SECONDS, resources.timeout_seconds),
        "retries": resources.retries,
        "schedule": modal.Cron(resources.cron) if resources.cron else None,
        "volumes": {DEPLOYMENT.mount_path(area): _VOLUMES[area] for area in resources.areas},
        "env": {**DEPLOYMENT.variables(), **chosen(STAGE_VARIABLES, os.environ)},
        # Each call gets a fresh container: current Volumes, and nothing left by the previous call.
        "single_use_containers": resources.idle_seconds == 0,
        "scaledown_window": resources.idle_seconds or None,
    }


@app.function(**_options("advance", _CPU))
def advance(guild: str, run: str) -> None:
    """Advance one run."""
    from training.backends.modal.functions import advance_one

    parts = _opened()
    advance_one(parts.runtime, guild, run, parts.backend.pump)


@app.function(**_options("tick", _CPU))
def tick() -> None:
    """Advance every open run and start calls that wait for a free GPU."""
    from training.backends.modal.functions import advance_all

    parts = _opened()
    advance_all(parts.runtime, parts.backend.pump)


@app.function(**_options("clean_up", _CPU))
def clean_up() -> None:
    """Remove old temporary files, and unused files that can be recreated."""
    from training.operations.clean_up import clean_up as clean
    from training.operations.notices import announce

    runtime = _opened().runtime
    announce(runtime, clean(runtime))


@app.function(**_options("prepare", _CPU))
def prepare(call: dict[str, Any]) -> str:
    """Repair a dataset."""
    return _stage(call)


@app.function(**_options("fetch", _CPU), secrets=[HUB_SECRET])
def fetch(call: dict[str, Any]) -> str:
    """Fetch weights."""
    return _stage(call)


@app.function(**_options("merge", _MERGE))
def merge(call: dict[str, Any]) -> str:
    """Merge a speed LoRA into a base."""
    return _stage(call)


@app.function(**_options("publish", _CPU))
def publish(call: dict[str, Any]) -> str:
    """Check checkpoints and complete their metadata."""
    return _stage(call)


@app.function(**_options("cache", _GPU))
def cache(call: dict[str, Any]) -> str:
    """Cache latents and text embeddings for a 14B model."""
    return _stage(call)


@app.function(**_options("train", _GPU))
def train(call: dict[str, Any]) -> str:
    """Train one expert of a 14B model."""
    return _stage(call)


@app.function(**_options("cache_small", _GPU))
def cache_small(call: dict[str, Any]) -> str:
    """Cache latents and text embeddings for the 1.3B model."""
    return _stage(call)


@app.function(**_options("train_small", _GPU))
def train_small(call: dict[str, Any]) -> str:
    """Train the 1.3B model."""
    return _stage(call)


def _stage(call: dict[str, Any]) -> str:
    from training.backends.modal.functions import do_call

    parts = _opened(has_mounts=True)
    return do_call(parts.runtime, parts.records, call)


@functools.cache
def _opened(*, has_mounts: bool = False) -> "ModalRuntime":
    """Return the adapters; a reused container keeps what it has cached."""
    from storage.modal.runtime import open_runtime
    from training.pipeline.logging_setup import log_to_stderr

    log_to_stderr()
    return open_runtime(DEPLOYMENT, has_mounts=has_mounts)
