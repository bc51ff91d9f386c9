"""Declares the stages' Functions on Modal, with images, Volumes and resources, but no logic.

`LORABOT_MODAL_APP` names the deployment, and `LORABOT_ENGINE` the engine. These two and the stage
settings are read when the app is deployed, and passed to every Function.
"""

import functools
import os
from typing import TYPE_CHECKING, Any

import modal

from training.deployment.code_version import STAGES_CODE, labels
from training.deployment.modal_images import image
from training.deployment.names import HUB_KEYS, Deployment
from training.deployment.resources import FUNCTIONS, STARTUP_SECONDS, FunctionName
from training.pipeline.settings import STAGE_VARIABLES, chosen

if TYPE_CHECKING:
    from storage.modal.runtime import ModalRuntime

DEPLOYMENT = Deployment.from_env(os.environ)
HUB_SECRET = modal.Secret.from_name(DEPLOYMENT.hub_secret, required_keys=list(HUB_KEYS))
_VOLUMES = {
    area: modal.Volume.from_name(DEPLOYMENT.volume(area), create_if_missing=True, version=1)
    for area in DEPLOYMENT.areas
}
_CPU, _MERGE = image("stage"), image("merge")
# The rehearsal engine trains on the CPU, with the container's own interpreter.
_GPU = image("gpu") if DEPLOYMENT.engine == "musubi" else _CPU
app = modal.App(
    DEPLOYMENT.stages_app,
    tags=labels(DEPLOYMENT, *STAGES_CODE) if modal.is_local() else None,
)


def _options(name: FunctionName, built: modal.Image) -> dict[str, Any]:
    resources = FUNCTIONS[name]
    return {
        "image": built,
        "gpu": _gpu(resources.gpu),
        "cpu": resources.cpu,
        "memory": round(resources.memory_gib * 1024),
        "timeout": resources.timeout_seconds,
        "startup_timeout": min(STARTUP_SECONDS, resources.timeout_seconds),
        "retries": resources.retries,
        "schedule": modal.Cron(resources.cron) if resources.cron else None,
        "volumes": {DEPLOYMENT.mount_path(area): _VOLUMES[area] for area in resources.areas},
        "env": {**DEPLOYMENT.variables(), **chosen(STAGE_VARIABLES, os.environ)},
        # Each call gets a fresh container: its Volumes are current, and no earlier call has left
        # anything in it.
        "single_use_containers": resources.idle_seconds == 0,
        "scaledown_window": resources.idle_seconds or None,
    }


def _gpu(choice: tuple[str, ...]) -> str | list[str] | None:
    """Return GPUs in Modal's form: one as a string, several as a list, none as None.

    A single GPU must be a string, because a call can override a string but not a list.
    """
    return choice[0] if len(choice) == 1 else list(choice) or None


@app.function(**_options("advance", _CPU))
def advance(guild: str, run: str) -> None:
    from training.backends.modal.functions import advance_one

    parts = _opened("advance")
    advance_one(parts.runtime, guild, run, parts.backend.pump)


@app.function(**_options("tick", _CPU))
def tick() -> None:
    """Advance every open run, and start the Functions that are due at this time."""
    from training.backends.modal.functions import advance_all, start_due

    parts = _opened("tick")
    try:
        advance_all(parts.runtime, parts.backend.pump)
    finally:
        start_due(DEPLOYMENT, parts.runtime.clock(), parts.claims.claim)


@app.function(**_options("clean_up", _CPU))
def clean_up() -> None:
    """Delete expired trash, temporary files, and unused files that can be recreated."""
    from training.operations.clean_up import announce
    from training.operations.clean_up import clean_up as clean

    runtime = _opened("clean_up").runtime
    announce(runtime, clean(runtime))


@app.function(**_options("prepare", _CPU))
def prepare(call: dict[str, Any]) -> str:
    return _stage("prepare", call)


@app.function(**_options("fetch", _CPU), secrets=[HUB_SECRET])
def fetch(call: dict[str, Any]) -> str:
    return _stage("fetch", call)


@app.function(**_options("merge", _MERGE))
def merge(call: dict[str, Any]) -> str:
    return _stage("merge", call)


@app.function(**_options("publish", _CPU))
def publish(call: dict[str, Any]) -> str:
    return _stage("publish", call)


@app.function(**_options("cache", _GPU))
def cache(call: dict[str, Any]) -> str:
    return _stage("cache", call)


@app.function(**_options("train", _GPU))
def train(call: dict[str, Any]) -> str:
    return _stage("train", call)


@app.function(**_options("cache_small", _GPU))
def cache_small(call: dict[str, Any]) -> str:
    return _stage("cache_small", call)


@app.function(**_options("train_small", _GPU))
def train_small(call: dict[str, Any]) -> str:
    return _stage("train_small", call)


@app.function(**_options("cache_chosen", _GPU))
def cache_chosen(call: dict[str, Any]) -> str:
    return _stage("cache_chosen", call)


@app.function(**_options("train_chosen", _GPU))
def train_chosen(call: dict[str, Any]) -> str:
    return _stage("train_chosen", call)


def _stage(name: FunctionName, call: dict[str, Any]) -> str:
    from training.backends.modal.functions import do_call

    parts = _opened(name)
    return do_call(parts.runtime, parts.records, call)


@functools.cache
def _opened(name: FunctionName) -> "ModalRuntime":
    """Return the adapters of a Function; a reused container reuses them with their caches."""
    from storage.modal.runtime import open_runtime
    from training.pipeline.logging_setup import log_to_stderr

    log_to_stderr()
    return open_runtime(DEPLOYMENT, mounted=FUNCTIONS[name].areas)
