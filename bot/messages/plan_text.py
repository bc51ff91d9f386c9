"""What a run will do and what it will take, told when it is started."""

from collections.abc import Sequence

from bot.messages.card import VALUE_LIMIT, Card, Colour, Field
from bot.messages.figures import count, duration, rate
from bot.messages.gpu_text import asked_gpu, basis
from bot.messages.markdown import escape, join_lines, one_line
from bot.messages.run_card import REHEARSAL
from training.catalogue.gpus import GPUS
from training.catalogue.models import Model, find_model
from training.dataset.config.group import GroupPlan
from training.dataset.report import Finding
from training.estimates.gpu_memory import UNMEASURED, needs
from training.estimates.time_and_cost import Estimate
from training.runs.hyperparameters import ItemSettings, SpeedLoraSettings
from training.runs.spec import ExpertSpec, RunSpec
from training.vocabulary import ExpertName


def plan_card(
    spec: RunSpec, estimate: Estimate, groups: GroupPlan, remarks: Sequence[Finding] = ()
) -> Card:
    """Return the plan of a run: settings of each expert, steps, time, memory and cost.

    `remarks` are about the user's own dataset TOML.
    """
    lines = [f"**{spec.model}** on dataset **{spec.dataset}**", started_text(spec)]
    if spec.engine == "rehearsal":
        lines.insert(1, f"*{REHEARSAL}*")
    if spec.items != ItemSettings():
        lines.append(_items(spec.items))
    if asked := asked_gpu(spec):
        lines.append(asked)
    experts = tuple(_expert(spec, expert) for expert in spec.experts)
    return Card(
        title=spec.name,
        description="\n".join(lines),
        colour=Colour.ACTIVE,
        fields=(
            *experts,
            Field("Time and cost", estimate_text(spec, estimate)),
            Field("GPU memory", memory_text(find_model(spec.model), groups, estimate.gpu.name)),
            *_own_toml(spec, remarks),
        ),
    )


def memory_text(model: Model, groups: GroupPlan, gpu: str) -> str:
    """Return how much GPU memory the largest group needs."""
    most = max(needs(model, groups, gpu), key=lambda need: need.gib)
    basis = "measured" if most.is_measured else UNMEASURED
    fits = " It would not fit." if most.is_too_large else ""
    return (
        f"Up to about {most.gib:.0f} of the {most.gpu_gib:.0f} GiB of {GPUS[gpu].with_article}, "
        f"in the group {most.group.name} ({basis}).{fits}"
    )


def _own_toml(spec: RunSpec, remarks: Sequence[Finding]) -> list[Field]:
    if spec.dataset_toml is None:
        return []
    lines = [f"- {escape(one_line(f'{finding.cause} {finding.fix}'))}" for finding in remarks]
    text = join_lines(lines, VALUE_LIMIT) if lines else "Used as it is, but for its paths."
    return [Field("Your dataset TOML", text)]


def started_text(spec: RunSpec) -> str:
    """Return that a run is stored and where to follow it."""
    return (
        f"The run is stored and starts by itself; its card shows how it goes. `/status {spec.name}`"
    )


def estimate_text(spec: RunSpec, estimate: Estimate) -> str:
    """Return what the run takes, and whose time and money that is."""
    takes = f"about {duration(estimate.seconds)} and ${estimate.usd:,.2f}"
    on = f"{estimate.gpu.with_article}, {basis(estimate)}"
    rough = f"a rough estimate for real training on {on}"
    if spec.engine == "rehearsal":
        return f"This rehearsal costs nothing here.\nReal training would take {takes}: {rough}."
    return f"{takes.capitalize()}: {rough}."


def _items(items: ItemSettings) -> str:
    frames = f"at most {items.max_frames} frames" if items.max_frames else ""
    return f"Items of {' · '.join(filter(None, (frames, items.resolution)))}"


def _expert(spec: RunSpec, expert: ExpertSpec) -> Field:
    settings = expert.settings
    steps = spec.steps_per_epoch * settings.epochs
    alpha = "" if settings.alpha == settings.rank else f", alpha {settings.alpha:g}"
    lines = [
        f"rank {settings.rank}{alpha} · learning rate {rate(settings.learning_rate)}",
        f"{settings.scheduler} · {settings.optimizer} · flow shift {settings.flow_shift:g}",
        f"{count(settings.epochs, 'epoch')} of {count(spec.steps_per_epoch, 'step')}: "
        f"{count(steps, 'step')} in all",
        f"a checkpoint every {count(settings.save_every, 'epoch')} · seed {settings.seed}",
    ]
    if expert.speed_lora is not None:
        lines.append(_merge(find_model(spec.model), expert.name, expert.speed_lora))
    if expert.start is not None:
        lines.append(f"starts from {escape(expert.start.source)}")
    name = "Settings" if expert.name == "main" else f"Settings, {expert.name}-noise expert"
    return Field(name, "\n".join(lines), inline=True)


def _merge(model: Model, expert: ExpertName, speed_lora: SpeedLoraSettings) -> str:
    own = model.speed_lora.files[expert] if model.speed_lora is not None else None
    file = speed_lora.weight_file
    other = f": {escape(str(file))}" if file != own else ""
    return f"Lightning merged at strength {speed_lora.strength:g}{other}"
