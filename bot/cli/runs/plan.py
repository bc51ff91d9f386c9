"""`lorabot plan`: the commands, time and cost of a run that is not started."""

import shlex
from collections.abc import Sequence
from typing import Any

from rich.table import Table

from bot.cli.home import Home
from bot.cli.output import console, print_json
from bot.cli.parameters import Json
from bot.cli.runs.options import RunOptions
from bot.messages.figures import duration
from bot.messages.gpu_text import asked_gpu, basis
from bot.messages.plan_text import memory_text
from training.catalogue.models import find_model
from training.dataset.report import Finding
from training.estimates.gpu_memory import needs
from training.estimates.time_and_cost import Estimate, estimate
from training.pipeline.plan import Planner
from training.runs.spec import RunSpec
from training.runs.training_items import cut_run, remarks


def plan(*, options: RunOptions, json: Json = False, home: Home | None = None) -> None:
    local = (home or Home()).open()
    draft = options.draft(local)
    spec = draft.spec
    groups = cut_run(draft.report, spec)
    planner = Planner(spec, groups, local.engine(spec.engine), local.runtime.store)
    prices = local.runtime.prices()
    cost = estimate(find_model(spec.model), groups, spec.experts, gpu=spec.gpu, prices=prices)
    if json:
        print_json(_as_json(spec, planner, cost))
    else:
        _print(spec, planner, cost, remarks(spec.dataset_toml, draft.report))


def _as_json(spec: RunSpec, planner: Planner, cost: Estimate) -> dict[str, Any]:
    return {
        "name": spec.name,
        "model": spec.model,
        "dataset": str(spec.dataset),
        "engine": spec.engine,
        "gpu": spec.gpu,
        "stages": [
            {
                "stage": stage.key.stage,
                "expert": stage.key.expert,
                "device": stage.device,
                "argv": list(command) if command is not None else None,
            }
            for stage in planner.stages()
            for command in (stage.commands or (None,))
        ],
        "dataset_toml": planner.dataset_toml(),
        "memory": [
            {
                "group": need.group.name,
                "gib": round(need.gib, 1),
                "gpu": need.gpu,
                "gpu_gib": need.gpu_gib,
                "measured": need.is_measured,
            }
            for need in needs(planner.model, planner.groups, cost.gpu.name)
        ],
        "steps_per_epoch": {e.name: spec.steps_per_epoch for e in spec.experts},
        "total_steps": {e.name: spec.steps_per_epoch * e.settings.epochs for e in spec.experts},
        "estimate": {
            "seconds": round(cost.seconds, 1),
            "usd": round(cost.usd, 2),
            "gpu": cost.gpu.name,
            "speed_measured": cost.gpu.is_measured,
            "prices": str(cost.prices.day),
            "prices_live": cost.prices.is_live,
        },
    }


def _print(spec: RunSpec, planner: Planner, cost: Estimate, said: Sequence[Finding]) -> None:
    stages = planner.stages()
    console.print(f"{spec.name}: {spec.model} on {spec.dataset}, engine {spec.engine}")
    table = Table("stage", "expert", "device", box=None)
    for stage in stages:
        table.add_row(stage.key.stage, stage.key.expert or "", stage.device)
    console.print(table)
    for expert in spec.experts:
        total = spec.steps_per_epoch * expert.settings.epochs
        console.print(f"{expert.name}: {spec.steps_per_epoch} steps per epoch, {total} in total")
    console.print(
        f"Real training: about {duration(cost.seconds)} and ${cost.usd:.2f} on {cost.gpu.name} "
        f"(rough; {basis(cost)})"
    )
    if asked := asked_gpu(spec):
        console.print(asked)
    console.print(memory_text(planner.model, planner.groups, cost.gpu.name))
    for finding in said:
        console.print(f"[{finding.severity}] {finding.cause} {finding.fix}", markup=False)
    console.print(f"\n# dataset.toml\n{planner.dataset_toml()}", markup=False)
    for stage in stages:
        for command in stage.commands:
            console.print(f"\n# {stage.key}")
            console.print(" ".join(shlex.quote(part) for part in command), markup=False)
