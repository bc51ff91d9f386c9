"""Autocompletion: up to 25 suggestions, limited to names from the user's current server."""

from collections.abc import Callable, Coroutine
from typing import Any

from discord import app_commands

from bot.discord.answers.answers import Interaction, guild_of
from bot.discord.commands.settings_text import complete_settings
from bot.messages.runs.plan_costs import priced
from bot.messages.trash import removal_label, removed_name
from bot.service.service import Service
from bot.service.threads import in_thread
from training.catalogue.gpus import GPUS
from training.store_keys import TrashKind

Choices = list[app_commands.Choice[str]]
Complete = Callable[[Interaction, str], Coroutine[Any, Any, Choices]]
_MAX_CHOICES = 25
_MAX_TEXT = 100
_MOST_LOOKED_AT = 200  # how many of the newest runs are searched for matches


def dataset_names(service: Service) -> Complete:
    async def complete(interaction: Interaction, typed: str) -> Choices:
        versions, _ = await in_thread(service.installation.datasets.newest, guild_of(interaction))
        texts = {
            v.name: f"{v.name} ({v.images} images, {v.clips} clips, version {v.number})"
            for v in versions
        }
        return _choices(texts, typed)

    return complete


OPEN = frozenset({"", "queued", "running"})  # "" if the state is not known yet
ENDED = frozenset({"succeeded", "failed", "cancelled", "damaged"})
RESUMABLE = frozenset({"failed", "cancelled"})
EVERY = OPEN | ENDED


def run_names(service: Service, fitting: frozenset[str] = EVERY) -> Complete:
    """Complete the name of a run whose state is in `fitting`; the newest runs come first."""

    async def complete(interaction: Interaction, typed: str) -> Choices:
        text = typed.strip().lower()
        most = _MAX_CHOICES if fitting == EVERY else _MOST_LOOKED_AT
        states = await service.run_lists.states(guild_of(interaction), text, most)
        return _choices(
            {
                name: f"{name} ({state})" if state else name
                for name, state in states.items()
                if state in fitting
            },
            typed,
        )

    return complete


def starting_points(service: Service) -> Complete:
    """Complete the name of a LoRA that a run can start from, also after `high=` or `low=`."""

    async def complete(interaction: Interaction, typed: str) -> Choices:
        before, equals, last = typed.rpartition("=")
        find = service.installation.runs.starting_points
        found = await in_thread(find, guild_of(interaction), last)
        choices = _choices(found, last)
        return [
            app_commands.Choice(name=choice.name, value=value)
            for choice in choices
            if len(value := f"{before}{equals}{choice.value}") <= _MAX_TEXT
        ]

    return complete


def lora_names(service: Service) -> Complete:
    """Complete the name of a LoRA file."""

    async def complete(interaction: Interaction, typed: str) -> Choices:
        found, _ = await in_thread(service.installation.loras.all, guild_of(interaction))
        return _choices({c.name: f"{c.name} ({c.model}, {c.expert})" for c in found}, typed)

    return complete


def removed_names(service: Service, kind: TrashKind) -> Complete:
    """Complete the name of a removed item that can be restored."""

    async def complete(interaction: Interaction, typed: str) -> Choices:
        removals = await in_thread(
            service.installation.restores.removals, guild_of(interaction), kind
        )
        labels: dict[str, str] = {}
        for removal in removals:  # newest first; of several with the same name, keep the newest
            labels.setdefault(removed_name(removal), removal_label(removal))
        return _choices(labels, typed)

    return complete


def gpu_names(service: Service) -> Complete:
    """Complete the name of a GPU, shown with its price."""

    async def complete(_interaction: Interaction, typed: str) -> Choices:
        prices = await in_thread(service.installation.runtime.prices)
        return _choices({gpu: priced(gpu, prices) for gpu in GPUS}, typed)

    return complete


def settings_texts() -> Complete:
    """Complete the last key or value in the option `settings`."""

    async def complete(_interaction: Interaction, typed: str) -> Choices:
        found = complete_settings(typed).items()
        return _choices({text: shown for text, shown in found if len(text) <= _MAX_TEXT}, "")

    return complete


def _choices(texts: dict[str, str], typed: str) -> Choices:
    found = [(name, text) for name, text in texts.items() if typed.strip().lower() in name.lower()]
    return [
        app_commands.Choice(name=text[:_MAX_TEXT], value=name)
        for name, text in found[:_MAX_CHOICES]
    ]
