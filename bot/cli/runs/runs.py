"""`lorabot runs` and `lorabot cancel`."""

from typing import Annotated

from cyclopts import Parameter
from rich.table import Table

from bot.cli.home import GUILD, OPERATOR, Home
from bot.cli.output import console, print_json
from bot.cli.parameters import Json, RunName

Rebuild = Annotated[bool, Parameter(help="Rebuild the index from the run folders.", negative=())]


def runs(*, json: Json = False, rebuild: Rebuild = False, home: Home | None = None) -> None:
    local = (home or Home()).open()
    if rebuild:
        local.run_list.rebuild_index()
    found = local.run_list.summaries(GUILD)
    if json:
        print_json([summary.model_dump(mode="json") for summary in found])
        return
    table = Table("run", "model", "dataset", "state", "experts", box=None)
    # Never truncated: people type it.
    table.columns[0].min_width = max((len(run.name) for run in found), default=0)
    for run in found:
        experts = ", ".join(f"{e.name} {e.step}/{e.total_steps}" for e in run.experts)
        table.add_row(run.name, run.model, run.dataset, run.state, experts)
    console.print(table if found else "No runs yet: start one with lorabot train.")


def cancel(run: RunName, /, *, home: Home | None = None) -> None:
    local = (home or Home()).open()
    local.runs.cancel(GUILD, run, by=OPERATOR)
    local.ensure_worker()
    console.print(f"Stopping {run}. Its checkpoints are kept.")
