"""Runs one of musubi-tuner's scripts with its hooks."""

import logging
import runpy
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from training.musubi.launcher import stop
from training.musubi.launcher.hooks import HookError
from training.musubi.progress import ProgressWriter

STATE_SECONDS_VARIABLE = "LORABOT_STATE_SECONDS"
DEFAULT_STATE_SECONDS = 15 * 60.0

_CACHES = ("wan_cache_latents.py", "wan_cache_text_encoder_outputs.py")
_TRAIN = "wan_train_network.py"
_USAGE = 2


class Hooks(Protocol):
    """What the launcher adds to one kind of script."""

    def install(self) -> None:
        """Install every hook, or raise `HookError`."""
        ...

    def stop(self) -> int:
        """Save the training state from another thread; return the exit code."""
        ...


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run the script named by the first argument with the rest; return the exit code."""
    script = Path(arguments[0]).resolve() if arguments else Path()
    if script.name not in (*_CACHES, _TRAIN) or not script.is_file():
        names = ",".join((*_CACHES, _TRAIN))
        sys.stderr.write(f"usage: launcher MUSUBI/src/musubi_tuner/{{{names}}} ...\n")
        return _USAGE
    stop.hold_signals()
    stop.bind_children()
    logging.basicConfig(level=logging.INFO)
    # In this order the checkout's modules take precedence over an installed musubi-tuner.
    sys.path[:1] = [str(script.parent), str(script.parents[1])]
    sys.argv = [str(script), *arguments[1:]]
    try:
        hooks = _hooks(script.name, environment)
        stop.on_stop_signal(hooks.stop)
        hooks.install()
    except HookError as error:
        sys.stderr.write(f"HookError: {error}\n")
        return 1
    try:
        runpy.run_path(str(script), run_name="__main__")
    finally:
        stop.end_children()
    return 0


def _hooks(script: str, environment: Mapping[str, str]) -> Hooks:
    progress = ProgressWriter.from_environment(environment)
    # Only training needs torch before musubi-tuner imports it.
    if script == _TRAIN:
        from training.musubi.launcher.train_hooks import TrainHooks  # noqa: PLC0415

        text = environment.get(STATE_SECONDS_VARIABLE)
        return TrainHooks(progress, float(text) if text else DEFAULT_STATE_SECONDS)
    from training.musubi.launcher.cache_hooks import CacheHooks  # noqa: PLC0415

    return CacheHooks(progress)
