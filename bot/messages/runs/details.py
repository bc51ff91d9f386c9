"""The details of a run: its settings, and the dataset, model, runs and LoRAs it started from."""

from dataclasses import replace

from bot.messages.card import Card, Field
from bot.messages.figures import moment
from bot.messages.markdown import escape
from bot.messages.panel import Panel
from bot.messages.runs.settings import settings_field
from bot.messages.runs.wording import (
    chosen_gpu,
    expert_title,
    item_limits,
    preset_text,
    promise_text,
)
from training.catalogue.models import find_model
from training.pipeline.run_view import RunView
from training.runs.spec import RunSpec
from training.wording import listed

_VERSION = 12  # how many characters of a dataset version's id are shown


def details_card(view: RunView) -> Card:
    """Return a card with the settings of every expert, and what the run was made from."""
    spec = view.spec
    model = find_model(spec.model)
    return Card(
        title=f"{spec.name}: details",
        description="\n".join(_facts(spec)),
        fields=(
            *(settings_field(spec, expert, model) for expert in spec.experts),
            Field("Made from", "\n".join(_lineage(spec))),
        ),
    )


def with_settings(card: Panel, spec: RunSpec) -> Panel:
    """Return a run's card with the settings of every expert added as its last fields."""
    model = find_model(spec.model)
    settings = (settings_field(spec, expert, model) for expert in spec.experts)
    return replace(card, fields=(*card.fields, *settings))


def _facts(spec: RunSpec) -> list[str]:
    chosen = (preset_text(spec), item_limits(spec), chosen_gpu(spec))
    lines = [f"Started by <@{spec.requested_by}> {moment(spec.created_at, 'f')}."]
    if promise := promise_text(spec):
        lines.append(f"{promise[0].upper()}{promise[1:]}.")
    return [*lines, *filter(None, chosen)]


def _lineage(spec: RunSpec) -> list[str]:
    """Return lines that name what the run was made from: dataset, model, runs and LoRAs."""
    used = spec.dataset
    media = "" if used.media == "repaired" else ", files as uploaded"
    lines = [
        f"dataset **{used}**, version `{used.version[:_VERSION]}`{media}",
        f"model **{spec.model}**, trained with {spec.engine}",
    ]
    if spec.continues is not None:
        lines.append(f"training states of run **{spec.continues}**")
    elif spec.follows is not None:
        lines.append(f"run **{spec.follows}**, repeated with a change")
    for expert in spec.experts:
        if expert.start is not None:
            title = expert_title("LoRA", expert.name)
            lines.append(f"{title}: **{escape(expert.start.source)}**")
    if spec.left_out:
        lines.append(f"without {escape(listed(spec.left_out))}")
    if spec.dataset_toml is not None:
        lines.append("a dataset TOML of its own")
    return lines
