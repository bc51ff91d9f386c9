"""Asks a run's trainers to save a checkpoint now, or to end early as if they had finished."""

from training.errors import RequestError
from training.pipeline.run_requests import publish_requests
from training.pipeline.run_view import RunView
from training.pipeline.runtime import Runtime
from training.remedies import ShowRuns
from training.runs import events as ev
from training.runs.event_log import REQUEST
from training.runs.state import StageStatus
from training.vocabulary import StageKey


def save_now(runtime: Runtime, view: RunView, *, by: str) -> None:
    """Ask every expert in training to save a checkpoint and its state after its current step.

    Raises:
        RequestError: The run has ended or is about to end, or no expert that is training now has
            taken a step.
    """
    name = view.spec.name
    if view.run.status.is_final or view.run.is_ending or not can_save(view):
        raise RequestError(
            f"No expert of {name} is training at the moment, so there is nothing to save.",
            "Ask again while an expert is training.",
            ShowRuns(run=name),
        )
    _ask(runtime, view, ev.SaveRequested(at=runtime.clock(), by=by))


def finish_here(runtime: Runtime, view: RunView, *, by: str) -> None:
    """Ask every expert to end after its current step, as if it had taken all of its steps.

    Raises:
        RequestError: The run has ended or is about to end, no expert is training now, or some
            expert has not taken its first step yet.
    """
    name = view.spec.name
    if view.run.status.is_final or view.run.is_ending:
        raise RequestError(
            f"{name} has already ended or is about to end.",
            "Look at the run to see how it ends.",
            ShowRuns(run=name),
        )
    if not can_finish(view):
        raise RequestError(
            f"{name} cannot finish early yet: not every expert has taken a step.",
            "Wait until every expert is training, or cancel the run; saved checkpoints are kept.",
            ShowRuns(run=name),
        )
    _ask(runtime, view, ev.FinishRequested(at=runtime.clock(), by=by))


def can_save(view: RunView) -> bool:
    """Return whether an expert is training now and has taken a step."""
    return any(
        view.run.stage(StageKey("train", expert.name)).status is StageStatus.RUNNING
        and view.expert(expert.name).step > 0
        for expert in view.spec.experts
    )


def can_finish(view: RunView) -> bool:
    """Return whether every expert has taken a step, and at least one is still training."""
    return can_save(view) and all(view.expert(expert.name).step for expert in view.spec.experts)


def _ask(runtime: Runtime, view: RunView, event: ev.SaveRequested | ev.FinishRequested) -> None:
    log = runtime.log(view.spec.guild, view.spec.name)
    log.append_alone(REQUEST, event)
    publish_requests(runtime, log.load())
