"""`lorabot runs` and `lorabot cancel`: list runs, or cancel one."""

from typing import Annotated

from cyclopts import Parameter
from rich.table import Table

from bot.cli.home import GUILD, OPERATOR, Home
from bot.cli.output import console, print_json, print_table
from bot.cli.parameters import Json, RunName
from bot.messages.runs.wording import state_text
from training.catalogue.models import find_model
from training.ports import EVERY_RUN, RunFilter
from training.runs.state import RunStatus

Rebuild = Annotated[bool, Parameter(help="Rebuild the index from the run folders.", negative=())]
State = Annotated[RunStatus | None, Parameter(help="List only runs in this state.")]
OfModel = Annotated[str | None, Parameter(help="List only runs of this model.")]


def runs(
    *,
    state: State = None,
    model: OfModel = None,
    json: Json = False,
    rebuild: Rebuild = False,
    home: Home | None = None,
) -> None:
    local = (home or Home()).open()
    if rebuild:
        local.rebuild()
    only = RunFilter(model=find_model(model).name if model else None, state=state)
    found = local.run_list.summaries(GUILD, only)
    if json:
        print_json([summary.model_dump(mode="json") for summary in found])
        return
    if not found:
        none = "No runs yet: start one with lorabot train."
        console.print(none if only == EVERY_RUN else "No run matches.")
        return
    table = Table("run", "model", "dataset", "state", "experts", box=None)
    for run in found:
        experts = ", ".join(f"{e.name} {e.step}/{e.total_steps}" for e in run.experts)
        table.add_row(run.name, run.model, run.dataset, state_text(run), experts)
    print_table(table)
    waiting = {run.error for run in found if run.state in ("queued", "running") and run.error}
    for reason in sorted(waiting):
        console.print(f"Waiting: {reason}", markup=False)


def cancel(run: RunName, /, *, home: Home | None = None) -> None:
    local = (home or Home()).open()
    local.runs.cancel(GUILD, run, by=OPERATOR)
    local.ensure_worker()
    console.print(f"Stopping {run}. Its checkpoints are kept.")
