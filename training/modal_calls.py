"""What the Functions on Modal do, with the adapters that they are handed."""

import logging
from collections.abc import Callable, Mapping

import modal

from training.advance import advance, open_runs
from training.backends.modal_calls import from_plain
from training.backends.modal_stage import CallRegister, run_call
from training.house import House
from training.stage import run_stage
from training.stages.functions import stage_function

logger = logging.getLogger(__name__)


def do_call(house: House, register: CallRegister, facts: Mapping[str, object]) -> str:
    """Run one attempt of a stage and return how it ended."""
    call, own = from_plain(facts), modal.current_function_call_id()
    if own is None:
        raise ValueError("a stage is run by its Function only")
    work = stage_function(call.key.stage)
    return run_call(call, own, register, lambda stopping: run_stage(house, call, work, stopping))


def advance_all(house: House, pump: Callable[[], object]) -> None:
    """Move every open run, and start what waits for a free GPU.

    One run that cannot go on does not stop the others; the next call tries it again.

    Raises:
        ExceptionGroup: Some could not be moved.
    """
    failures: list[Exception] = []
    for guild, run in open_runs(house):
        try:
            advance(house, guild, run)
        except Exception as error:
            logger.exception("run %s: cannot be advanced", run)
            failures.append(error)
    pump()
    if failures:
        raise ExceptionGroup("some runs could not be advanced", failures)
