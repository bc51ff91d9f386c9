"""`lorabot plan`: the commands, time and cost of a run, without starting it."""

import shlex
from typing import Any

from rich.table import Table

from bot.cli.datasets.zips import layout_hint
from bot.cli.home import Home
from bot.cli.output import console, print_json, print_table
from bot.cli.parameters import Json
from bot.cli.runs.options import RunOptions
from bot.cli.runs.plan_text import print_plan
from training.dataset.report import Finding
from training.estimates.gpu_memory import needs
from training.estimates.single_frames import savings, single_frames
from training.estimates.time_and_cost import Estimate
from training.operations.run_plans import RunPlan
from training.pipeline.plan import Planner


def plan(*, options: RunOptions, json: Json = False, home: Home | None = None) -> None:
    local = (home or Home()).open()
    found = options.draft(local).plan
    spec = found.spec
    engine, store = local.runtime.engine(spec.engine), local.runtime.store
    planner = Planner(spec, found.model, found.groups, engine, store)
    if json:
        print_json(_as_json(found, planner))
        return
    print_plan(found)
    _print_stages(planner)
    if hint := layout_hint(found.report):
        console.print(hint, markup=False)


def _as_json(found: RunPlan, planner: Planner) -> dict[str, Any]:
    spec, cost = found.spec, found.estimate
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
            for need in needs(
                planner.model, planner.groups, cost.gpu.name, [e.settings for e in spec.experts]
            )
        ],
        "preset": spec.preset,
        "single_frames": _single_frames(found, planner),
        "items": {"left_out": planner.groups.left_out, "remarks": planner.groups.remarks},
        "findings": [_finding(one) for one in (*found.findings, *found.remarks)],
        "unusual": list(found.doubts),
        "steps_per_epoch": {e.name: spec.steps_per_epoch for e in spec.experts},
        "total_steps": {e.name: spec.steps_per_epoch * e.settings.epochs for e in spec.experts},
        "place_in_line": found.line.next_place,
        "estimate": {
            **_estimate(cost),
            "prices": str(cost.prices.day),
            "prices_live": cost.prices.is_live,
            "fallbacks": [_estimate(one) for one in found.fallbacks],
            "each_gpu": [_estimate(one) for one in found.price_list],
        },
    }


def _estimate(one: Estimate) -> dict[str, Any]:
    return {
        "gpu": one.gpu.name,
        "seconds": round(one.seconds, 1),
        "usd": round(one.usd, 2),
        "speed_measured": one.is_measured,
        "speed_from_earlier_runs": one.is_from_here,
    }


def _finding(one: Finding) -> dict[str, str]:
    return {"code": one.code, "severity": one.severity, "cause": one.cause, "fix": one.fix}


def _single_frames(plan: RunPlan, planner: Planner) -> dict[str, Any] | None:
    spec = plan.spec
    found = single_frames(planner.model, planner.groups, gpu=spec.gpu, times=plan.times)
    if found is None:
        return None
    prices = plan.estimate.prices
    saved = savings(found, planner.model, spec.experts, gpu=spec.gpu, prices=prices)
    return {
        "steps_per_epoch": found.steps,
        "time_share": round(found.time_share, 3),
        "saved_seconds": round(saved.seconds, 1),
        "saved_usd": round(saved.usd, 2),
    }


def _print_stages(planner: Planner) -> None:
    stages = planner.stages()
    table = Table("stage", "expert", "device", box=None)
    for stage in stages:
        table.add_row(stage.key.stage, stage.key.expert or "", stage.device)
    print_table(table)
    console.print(f"\n# dataset.toml\n{planner.dataset_toml()}", markup=False)
    for stage in stages:
        for command in stage.commands:
            console.print(f"\n# {stage.key}")
            console.print(" ".join(shlex.quote(part) for part in command), markup=False)
