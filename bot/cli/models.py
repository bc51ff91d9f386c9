"""`lorabot models`: list the models of the catalogue."""

from typing import Annotated, Any

from cyclopts import Parameter
from rich.table import Table

from bot.cli.home import Home
from bot.cli.output import console, print_json, print_table
from bot.cli.parameters import Json
from bot.messages.figures import rate
from bot.messages.models import models_text, reference_text, setting_text
from bot.messages.options import on_terminal
from training.catalogue.models import MODELS, SOURCES, Expert, Model, SpeedLora, WeightFile
from training.catalogue.presets import REFERENCE

Markdown = Annotated[bool, Parameter(help="Print the table that README.md shows.", negative=())]


def models(*, json: Json = False, markdown: Markdown = False, home: Home | None = None) -> None:
    del home  # every command takes this option, but the catalogue does not depend on it
    if json:
        print_json([as_json(model) for model in MODELS])
        return
    if markdown:
        console.print(markdown_table(), markup=False)
        return
    table = Table("model", "use it for", "experts: rank, learning rate", "GPU", box=None)
    for model in MODELS:
        experts = "\n".join(f"{e.name}: {e.rank}, {rate(e.learning_rate)}" for e in model.experts)
        table.add_row(model.name, model.use_case, experts, model.gpu)
    print_table(table, wrapped=("use it for",))
    preset = on_terminal("preset", "reference")
    for value in REFERENCE:
        setting = on_terminal(value.setting, value.value, value.expert)
        console.print(f"\n{preset} sets {setting}\n{reference_text(value)}", markup=False)


def markdown_table() -> str:
    """Return the models as the Markdown table in README.md."""
    lines = [
        "| model | use it for | experts: rank, learning rate | flow shift | needs clips | GPU |",
        "|---|---|---|---|---|---|",
    ]
    for model in MODELS:
        experts = "; ".join(f"{e.name}: {e.rank}, {rate(e.learning_rate)}" for e in model.experts)
        clips = "yes" if model.i2v else "no"
        cells = [model.name, model.use_case, experts, f"{model.flow_shift:g}", clips, model.gpu]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "| `preset=reference` | models | why |", "|---|---|---|"]
    for value in REFERENCE:
        cells = [f"`{setting_text(value)}`", models_text(value), value.reason]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def as_json(model: Model) -> dict[str, Any]:
    return {
        "name": model.name,
        "use_case": model.use_case,
        "task": model.task,
        "dtype": model.dtype,
        "i2v": model.i2v,
        "clip": model.clip,
        "fp8": list(model.fp8),
        "flow_shift": model.flow_shift,
        "resolution": model.resolution,
        "gpu": model.gpu,
        "speed_lora": _speed_lora(model.speed_lora),
        "modules": model.modules,
        "experts": [_expert(expert) for expert in model.experts],
        "reference": [
            {"setting": v.setting, "expert": v.expert, "value": v.value, "reason": v.reason}
            for v in REFERENCE
            if model.name in v.models
        ],
        "vae": _file(model.vae),
        "t5": _file(model.t5),
        "clip_weights": _file(model.clip_weights) if model.clip_weights else None,
        "sources": dict(SOURCES),
    }


def _expert(expert: Expert) -> dict[str, Any]:
    lowest, highest = expert.timesteps or (None, None)
    return {
        "name": expert.name,
        "dit": _file(expert.dit),
        "min_timestep": lowest,
        "max_timestep": highest,
        "rank": expert.rank,
        "alpha": expert.alpha,
        "learning_rate": expert.learning_rate,
    }


def _speed_lora(speed_lora: SpeedLora | None) -> dict[str, Any] | None:
    if speed_lora is None:
        return None
    files = {name: _file(file) for name, file in speed_lora.files.items()}
    return {"strength": speed_lora.strength, "files": files}


def _file(file: WeightFile) -> dict[str, str]:
    return {"repo": file.repo, "file": file.file, "revision": file.revision}
