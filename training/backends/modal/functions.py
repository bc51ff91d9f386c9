"""The bodies of the Functions on Modal, given their adapters."""

import logging
import time
from collections.abc import Callable, Mapping

import modal

from training.backends.modal.backend import STOP_SECONDS
from training.backends.modal.call_records import from_plain
from training.backends.modal.call_runner import CallRegister, run_call
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
        raise ValueError("a stage is run by its Function only")
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

    If the run is being cancelled, kill what has not stopped in time: there may be no later call.
    """
    found = advance(runtime, guild, run, waits=True)
    pump()
    if found.cancel_requested_at is not None and not found.status.is_final:
        # The stages were asked to stop at that time; this call may have come later.
        since = (runtime.clock() - found.cancel_requested_at).total_seconds()
        pause(min(max(STOP_SECONDS - since, 0.0), STOP_SECONDS) + _MARGIN_SECONDS)
        advance(runtime, guild, run, waits=True)


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
