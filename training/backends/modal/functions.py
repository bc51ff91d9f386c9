"""The bodies of the Functions on Modal; the adapters that they use are passed in."""

import logging
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import cast

import modal

from training.backends.modal.backend import STOP_SECONDS
from training.backends.modal.call_records import from_plain
from training.backends.modal.call_runner import CallRegister, run_call
from training.backends.modal.errors import ANY_FAILURE
from training.deployment.names import Deployment
from training.deployment.resources import BOT_FUNCTIONS
from training.deployment.schedule import due
from training.pipeline.advance import advance, open_runs
from training.pipeline.runtime import Runtime
from training.pipeline.stage_runner import run_stage
from training.pipeline.stages.functions import stage_function

logger = logging.getLogger(__name__)
_MARGIN_SECONDS = 0.5


def do_call(runtime: Runtime, register: CallRegister, facts: Mapping[str, object]) -> str:
    """Run one attempt of a stage; return how it ended."""
    call, own = from_plain(facts), modal.current_function_call_id()
    if own is None:
        raise ValueError("a stage can run only inside its Function on Modal")
    work = stage_function(call.key.stage)
    return run_call(call, own, register, lambda stopping: run_stage(runtime, call, work, stopping))


def advance_one(
    runtime: Runtime,
    guild: str,
    run: str,
    pump: Callable[[], object],
    *,
    pause: Callable[[float], None] = time.sleep,
) -> None:
    """Advance one run and start calls that wait for a free GPU.

    If the run is being cancelled, also wait for its stages to stop, and kill those that do not stop
    in time, because this may be the last call that advances the run.
    """
    found = advance(runtime, guild, run, waits=True)
    # Most stages were asked to stop when the cancellation was requested. Stages being submitted at
    # that moment were asked only by `advance` above. Each stage has `STOP_SECONDS` to stop.
    asked_at, requested_at = runtime.clock(), found.cancel_requested_at
    pump()
    if requested_at is None:
        return
    for since in (requested_at, asked_at):
        if not found.is_cancelling:
            return
        left = STOP_SECONDS - (runtime.clock() - since).total_seconds()
        pause(min(max(left, 0.0), STOP_SECONDS) + _MARGIN_SECONDS)
        found = advance(runtime, guild, run, waits=True)


def advance_all(runtime: Runtime, pump: Callable[[], object]) -> None:
    """Advance every open run and start calls that wait for a free GPU.

    A run that cannot be advanced does not stop the others; the next call tries it again.

    Raises:
        ExceptionGroup: Some runs could not be advanced.
    """
    failures: list[Exception] = []
    for guild, run in open_runs(runtime):
        try:
            advance(runtime, guild, run)
        except Exception as error:
            logger.exception("run %s: cannot be advanced", run)
            failures.append(error)
    pump()
    if failures:
        raise ExceptionGroup("some runs could not be advanced", failures)


def start_due(deployment: Deployment, at: datetime, claim: Callable[[str], bool]) -> None:
    """Start the Functions that are due at this time.

    A Function that cannot be started, such as the bot's health check if the bot is not deployed, is
    skipped until its next turn.
    """
    for name in due(at, claim):
        app = deployment.bot_app if name in BOT_FUNCTIONS else deployment.stages_app
        function = cast(
            "modal.Function[[], None, None]",  # Modal's client does not declare the type
            modal.Function.from_name(app, name),
        )
        try:
            function.spawn()
        except ANY_FAILURE as error:
            logger.warning("%s could not be started: %s", name, error)
        else:
            logger.info("%s was started", name)
