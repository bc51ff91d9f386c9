"""`lorabot train` and `lorabot resume`: start a run and follow it in the terminal."""

import sys
import time
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from bot.cli.datasets.zips import layout_hint, stored_dataset
from bot.cli.home import GUILD, Home
from bot.cli.output import confirmed, console, is_terminal, print_error, print_json
from bot.cli.parameters import Json, RunName
from bot.cli.runs.options import REQUESTER, RunOptions
from bot.cli.runs.plan_text import print_plan
from bot.hosting.local import LocalInstallation
from bot.installation import Installation
from bot.messages.options import on_terminal
from bot.messages.runs.plan_costs import cost_lines, why_asked
from bot.messages.runs.wording import flawed_end
from bot.service.server_settings import SettingsStore
from training.errors import RequestError, StageError
from training.operations.run_plans import RunPlan
from training.pipeline.run_view import RunView
from training.remedies import ConfirmRun, ResumeRun
from training.runs.spec import RunSpec
from training.runs.state import RunStatus, StageStatus
from training.store_keys import RunKeys


def train(
    *,
    options: RunOptions,
    yes: Annotated[bool, Parameter(help="Start without asking.", negative=())] = False,
    json: Json = False,
    home: Home | None = None,
) -> None:
    place = home or Home()
    local = place.open()
    local.require_training()
    # Ask before storing the zip, so that a refused command changes nothing.
    draft = options.draft(local)
    if not yes:
        _require_yes(local, draft.plan, can_ask=not json)
    if not json and (hint := layout_hint(draft.plan.report)):
        console.print(hint, markup=False)
    dataset = stored_dataset(local, options.dataset, draft.ref, reads_layout=options.read_layout)
    request = draft.request.model_copy(update={"dataset": dataset})
    spec = local.runs.start(request, REQUESTER, draft.plan.spec.engine)
    _follow_to_end(local, spec, place, json=json)


def _require_yes(local: Installation, plan: RunPlan, *, can_ask: bool) -> None:
    """If there is a reason to ask, ask on the terminal whether to start the run.

    Raises:
        RequestError: There is a reason, but nobody can be asked, or the answer is no.
    """
    limit_usd = SettingsStore(local.runtime).read(GUILD).ask_above_usd
    reasons = plan.reasons_to_ask(limit_usd)
    if not reasons:
        return
    why = why_asked(reasons, limit_usd)
    if not can_ask or not is_terminal():
        causes = [*plan.doubts, *cost_lines(plan, on_terminal)[:1], why]
        raise RequestError(" ".join(causes), "To start it anyway, confirm the start.", ConfirmRun())
    print_plan(plan)
    console.print(why, markup=False)
    if not confirmed("Start this run?"):
        raise RequestError("Nothing was started or stored.", "")


def resume(
    run: RunName,
    /,
    *,
    as_suggested: Annotated[
        bool,
        Parameter(
            help="Make the change that the failed run suggests, such as a lower learning rate or "
            "leaving out a sample.",
            negative=(),
        ),
    ] = False,
    json: Json = False,
    home: Home | None = None,
) -> None:
    place = home or Home()
    local = place.open()
    local.require_training()
    continue_run = local.runs.try_again if as_suggested else local.runs.resume
    _follow_to_end(local, continue_run(run, REQUESTER), place, json=json)


def _follow_to_end(local: Installation, spec: RunSpec, place: Home, *, json: bool) -> None:
    name = spec.name
    if not json:
        console.print(f"{name} started{' as a rehearsal' if spec.engine == 'rehearsal' else ''}.")
    try:
        view = _follow(local, name, quiet=json)
    except KeyboardInterrupt:
        cancel = f"lorabot cancel {name}{place.words}"
        console.print(
            f"{name} continues. Follow it with lorabot runs{place.words}, stop it with {cancel}."
        )
        sys.exit(1)
    if json:
        print_json(view.summary(local.runtime.clock()).model_dump(mode="json"))
    if view.run.status is RunStatus.FAILED:
        failure = StageError(view.run.cause, view.run.fix, view.run.remedy)
        print_error(failure, place.words, run=name)
        sys.exit(1)
    if view.run.status is RunStatus.CANCELLED:
        raise StageError(f"{name} was cancelled.", "Resume it to continue.", ResumeRun(run=name))
    if not json:
        _print_files(local, view, place)


def _follow(local: Installation, name: str, *, quiet: bool) -> RunView:
    columns = (TextColumn("{task.description:<24}"), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns, TimeRemainingColumn(), console=console, disable=quiet or not console.is_terminal
    ) as progress:
        follower = _Follower(progress, is_plain=not quiet and not console.is_terminal)
        while True:
            local.ensure_worker()
            view = local.runs.view(GUILD, name)
            follower.show(view)
            if view.run.status.is_final:
                return view
            time.sleep(local.runtime.live.pause_seconds)


class _Follower:
    """Shows the stages of a run: bars on a terminal, otherwise one line per change."""

    def __init__(self, progress: Progress, *, is_plain: bool) -> None:
        self._progress = progress
        self._is_plain = is_plain
        self._bars: dict[str, TaskID] = {}
        self._said: set[str] = set()

    def show(self, view: RunView) -> None:
        if view.obstacle is not None and view.obstacle not in self._said:
            self._said.add(view.obstacle)
            console.print(f"Waiting: {view.obstacle}", markup=False)
        for key in view.keys:
            stage = view.run.stage(key)
            if stage.status in (StageStatus.PENDING, StageStatus.SUBMITTED):
                continue
            newest = view.progress.get(key)
            total = (newest.total_steps or newest.total) if newest else 0
            done = (newest.step or newest.done) if newest else 0
            if stage.status is StageStatus.SUCCEEDED:
                total = done = total or 1
            self._bar(str(key), done, total or None)
            self._line(f"{key}: {_words(stage.status, reused=stage.reused)} {stage.note}".strip())
        for expert in view.spec.experts:
            for file in view.expert(expert.name).checkpoints:
                self._line(f"saved {Path(file).name}")

    def _bar(self, name: str, done: int, total: int | None) -> None:
        if name not in self._bars:
            self._bars[name] = self._progress.add_task(name, total=total)
        self._progress.update(self._bars[name], completed=done, total=total)

    def _line(self, text: str) -> None:
        if self._is_plain and text not in self._said:
            console.print(text, markup=False)
        self._said.add(text)


def _words(status: StageStatus, *, reused: bool) -> str:
    if status is StageStatus.SUCCEEDED:
        return "done (reused)" if reused else "done"
    return status.value


def _print_files(local: Installation, view: RunView, place: Home) -> None:
    name, trouble = view.spec.name, view.run.trouble
    console.print(f"\n{name} {flawed_end(trouble) if trouble else 'succeeded'}. Checkpoints:")
    for expert in view.spec.experts:
        for file in view.expert(expert.name).checkpoints:
            path = Path(file).name
            if isinstance(local, LocalInstallation):
                path = str(local.runtime.store.path(f"{RunKeys(GUILD, name).folder}/{file}"))
            console.print(f"  {path}", markup=False)
    if not isinstance(local, LocalInstallation):
        console.print(f"Download them: lorabot download {name} --out FOLDER{place.words}")
    if view.spec.engine == "rehearsal":
        console.print("A rehearsal on a tiny stand-in model: its LoRA does not work in ComfyUI.")
