"""`lorabot runs`, `lorabot cancel` and `lorabot download`."""

import shutil
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.table import Table

from bot.cli.options import GUILD, OPERATOR, Home, Json, RunName
from bot.cli.output import console, print_json
from training import layout
from training.bundle import require_checkpoints

Folder = Annotated[Path, Parameter(help="Where to; made when it is not there.")]
Rebuild = Annotated[
    bool, Parameter(help="Forget the index and read every run's folder again.", negative=())
]


def runs(*, json: Json = False, rebuild: Rebuild = False, home: Home | None = None) -> None:
    """List all runs, newest first."""
    local = (home or Home()).open()
    if rebuild:
        local.runs.rebuild_index()
    found = local.runs.summaries(GUILD)
    if json:
        print_json([summary.model_dump(mode="json") for summary in found])
        return
    table = Table("run", "model", "dataset", "state", "experts", box=None)
    for run in found:
        experts = ", ".join(f"{e.name} {e.step}/{e.total_steps}" for e in run.experts)
        table.add_row(run.name, run.model, run.dataset, run.state, experts)
    console.print(table if found else "No runs yet: start one with lorabot train.")


def cancel(run: RunName, /, *, home: Home | None = None) -> None:
    """Stop a run; its checkpoints are kept."""
    local = (home or Home()).open()
    local.runs.cancel(GUILD, run, by=OPERATOR)
    local.ensure_worker()
    console.print(f"{run} is being stopped; its checkpoints are kept.")


def download(
    run: RunName,
    /,
    *,
    out: Annotated[Path, Parameter(help="Folder; made when it is not there.")],
    home: Home | None = None,
) -> None:
    """Copy the checkpoints of a run into a folder."""
    local = (home or Home()).open()
    view = local.runs.view(GUILD, run)
    require_checkpoints(view)
    out.mkdir(parents=True, exist_ok=True)
    for expert in view.spec.experts:
        for file in view.expert(expert.name).checkpoints:
            source = local.house.store.path(f"{layout.run(GUILD, run)}/{file}")
            target = out / source.name
            partial = target.with_name(f".{target.name}.part")
            shutil.copyfile(source, partial)
            partial.replace(target)
            console.print(str(target), markup=False)
