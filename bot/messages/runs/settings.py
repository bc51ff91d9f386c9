"""The settings of an expert, shown in the plan and the details of a run."""

from bot.messages.card import Field
from bot.messages.figures import rate
from bot.messages.markdown import escape
from bot.messages.runs.wording import expert_title
from training.catalogue.models import Model
from training.lora.origin import named_expert
from training.runs.hyperparameters import ExpertSettings
from training.runs.spec import ExpertSpec, RunSpec
from training.runs.unusual_settings import differing
from training.wording import count


def settings_field(spec: RunSpec, expert: ExpertSpec, model: Model) -> Field:
    """Return a field with an expert's settings, speed LoRA and starting point."""
    lines = [*_settings_lines(spec, expert.settings, model), *_base_lines(expert, model)]
    if expert.start is not None:
        lines.append(f"**starts from {escape(expert.start.source)}**")
        lines += map(escape, expert.start.remarks)
    return Field(expert_title("Settings", expert.name), "\n".join(lines), inline=True)


def _settings_lines(spec: RunSpec, settings: ExpertSettings, model: Model) -> list[str]:
    """Return the settings of an expert; those that differ from the model's defaults are bold."""
    changed = differing(settings, model)

    def shown(name: str, text: str, *, is_always: bool = True) -> str:
        if name in changed:
            return f"**{text}**"
        return text if is_always else ""

    def joined(*texts: str) -> str:
        return " · ".join(filter(None, texts))

    epochs = shown("epochs", count(settings.epochs, "epoch"))
    steps = count(spec.steps_per_epoch * settings.epochs, "step")
    every = shown("save_every", count(settings.save_every, "epoch"))
    lines = [
        joined(
            shown("rank", f"rank {settings.rank}"),
            shown("alpha", f"alpha {settings.alpha:g}", is_always=False),
            shown("learning_rate", f"learning rate {rate(settings.learning_rate)}"),
        ),
        joined(
            shown("scheduler", settings.scheduler),
            shown("scheduler_power", f"power {settings.scheduler_power:g}", is_always=False),
            shown("min_lr_ratio", f"min-lr-ratio {settings.min_lr_ratio:g}", is_always=False),
            shown("optimizer", settings.optimizer),
            shown("flow_shift", f"flow shift {settings.flow_shift:g}"),
        ),
        f"{epochs} of {count(spec.steps_per_epoch, 'step')}: {steps} in total",
        joined(f"a checkpoint every {every}", shown("seed", f"seed {settings.seed}")),
        joined(
            shown(
                "loraplus_lr_ratio",
                f"LoRA+ ratio {settings.loraplus_lr_ratio or 1:g}",
                is_always=False,
            ),
            shown("fast", f"compiled steps ({settings.fast})", is_always=False),
            shown("force_v2_1_time_embedding", "Wan 2.1 time embedding", is_always=False),
            shown("fp8", f"fp8 {'on' if settings.fp8 else 'off'}", is_always=False),
            shown(
                "blocks_to_swap",
                f"{settings.blocks_to_swap} blocks in main memory",
                is_always=False,
            ),
        ),
    ]
    return [line for line in lines if line]


def _base_lines(expert: ExpertSpec, model: Model) -> list[str]:
    """Return lines about the speed LoRA that is merged into the base model; [] if there is none."""
    lora, usual = expert.speed_lora, model.speed_lora
    if lora is None:
        return []
    strength = f"strength {lora.strength:g}"
    if usual is None or lora.strength != usual.strength:
        strength = f"**{strength}**"
    is_usual = usual is not None and lora.weight_file == usual.files[expert.name]
    file = "" if is_usual else f": **{escape(str(lora.weight_file))}**"
    lines = [f"Lightning will be merged at {strength}{file}"]
    if (named := named_expert(lora.file)) not in (None, expert.name):
        lines.append(f"Judging by its name, this Lightning file is for the {named}-noise expert.")
    return lines
