"""`lorabot plan`: what a run would do, command by command, and what it would take."""

import shlex
from typing import Any

from rich.table import Table

from bot.cli.options import ORIGIN, DatasetName, Engine, Home, Json, ModelName, RunSettings
from bot.cli.output import console, print_json
from bot.cli.zips import look_at
from bot.messages.duration import duration
from training.catalogue import find_model
from training.cost import PRICES_DATE, Estimate, estimate
from training.dataset.groups import plan_groups
from training.plan import PlannedStage, Planner
from training.request import RunSpec


def plan(
    *,
    model: ModelName,
    dataset: DatasetName,
    settings: RunSettings | None = None,
    engine: Engine = "rehearsal",
    json: Json = False,
    home: Home | None = None,
) -> None:
    """Show the stages, the exact commands, the steps an epoch, the time and the cost of a run."""
    local = (home or Home()).open()
    request = (settings or RunSettings()).request(model, dataset)
    ref, report = look_at(local, dataset)
    spec = local.runs.draft_for(request, ORIGIN, engine, ref=ref, report=report)
    groups = plan_groups(report)
    planner = Planner(spec, groups, local.engine(engine), local.house.store.path)
    cost = estimate(find_model(spec.model), groups, spec.experts)
    if json:
        print_json(_as_json(spec, planner.stages(), cost))
    else:
        _print(spec, planner.stages(), cost)


def _as_json(spec: RunSpec, stages: tuple[PlannedStage, ...], cost: Estimate) -> dict[str, Any]:
    return {
        "name": spec.name,
        "model": spec.model,
        "dataset": str(spec.dataset),
        "engine": spec.engine,
        "stages": [
            {
                "stage": stage.key.stage,
                "expert": stage.key.expert,
                "device": stage.device,
                "argv": list(command) if command is not None else None,
            }
            for stage in stages
            for command in (stage.commands or (None,))
        ],
        "steps_per_epoch": {e.name: spec.steps_per_epoch for e in spec.experts},
        "total_steps": {e.name: spec.steps_per_epoch * e.settings.epochs for e in spec.experts},
        "estimate": {
            "seconds": round(cost.seconds, 1),
            "usd": round(cost.usd, 2),
            "gpu": cost.gpu,
            "prices": PRICES_DATE,
        },
    }


def _print(spec: RunSpec, stages: tuple[PlannedStage, ...], cost: Estimate) -> None:
    console.print(f"{spec.name}: {spec.model} on {spec.dataset}, engine {spec.engine}")
    table = Table("stage", "expert", "device", box=None)
    for stage in stages:
        table.add_row(stage.key.stage, stage.key.expert or "", stage.device)
    console.print(table)
    for expert in spec.experts:
        total = spec.steps_per_epoch * expert.settings.epochs
        console.print(f"{expert.name}: {spec.steps_per_epoch} steps an epoch, {total} in all")
    console.print(
        f"Real training: about {duration(cost.seconds)} and ${cost.usd:.2f} on {cost.gpu} "
        f"(rough; price list of {PRICES_DATE})"
    )
    for stage in stages:
        for command in stage.commands:
            console.print(f"\n# {stage.key}")
            console.print(" ".join(shlex.quote(part) for part in command), markup=False)
