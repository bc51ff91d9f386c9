"""Autocompletion: at most 25 names of this server."""

from collections.abc import Callable, Coroutine
from typing import Any

from discord import app_commands

from bot.discord.answers.answers import Interaction, guild_of
from bot.discord.commands.settings_text import complete_settings
from bot.messages.gpu_text import priced
from bot.service.service import Service
from bot.service.threads import in_thread
from training.catalogue.gpus import GPUS

Choices = list[app_commands.Choice[str]]
Complete = Callable[[Interaction, str], Coroutine[Any, Any, Choices]]
_MAX_CHOICES = 25
_MAX_TEXT = 100
# Discord waits 3 s for suggestions; after this long, names are shown without their state.
_PATIENCE = 1.2


def dataset_names(service: Service) -> Complete:
    """Complete the name of a dataset."""

    async def complete(interaction: Interaction, typed: str) -> Choices:
        versions = await in_thread(service.installation.datasets.newest, guild_of(interaction))
        texts = {
            v.name: f"{v.name} ({v.images} images, {v.clips} clips, version {v.number})"
            for v in versions
        }
        return _choices(texts, typed)

    return complete


def run_names(service: Service) -> Complete:
    """Complete the name of a run, newest first."""

    async def complete(interaction: Interaction, typed: str) -> Choices:
        states = await service.run_states(guild_of(interaction), patience_seconds=_PATIENCE)
        return _choices(
            {name: f"{name} ({state})" if state else name for name, state in states.items()}, typed
        )

    return complete


def starting_points(service: Service) -> Complete:
    """Complete what a run can start from, also after `high=` or `low=`."""

    async def complete(interaction: Interaction, typed: str) -> Choices:
        before, equals, last = typed.rpartition("=")
        found = await in_thread(
            service.installation.runs.initial_weights.names, guild_of(interaction), last
        )
        choices = _choices(found, last)
        return [
            app_commands.Choice(name=choice.name, value=value)
            for choice in choices
            if len(value := f"{before}{equals}{choice.value}") <= _MAX_TEXT
        ]

    return complete


def checkpoint_names(service: Service) -> Complete:
    """Complete the name of a LoRA file."""

    async def complete(interaction: Interaction, typed: str) -> Choices:
        found = await in_thread(service.installation.loras.all, guild_of(interaction))
        return _choices({c.name: f"{c.name} ({c.model}, {c.expert})" for c in found}, typed)

    return complete


def gpu_names(service: Service) -> Complete:
    """Complete the name of a GPU, shown with its price."""

    async def complete(_interaction: Interaction, typed: str) -> Choices:
        prices = await in_thread(service.installation.runtime.prices)
        return _choices({gpu: priced(gpu, prices) for gpu in GPUS}, typed)

    return complete


def settings_texts() -> Complete:
    """Complete the last key or value of the text `settings`."""

    async def complete(_interaction: Interaction, typed: str) -> Choices:
        found = complete_settings(typed)
        return [
            app_commands.Choice(name=shown[:_MAX_TEXT], value=text)
            for text, shown in found.items()
            if len(text) <= _MAX_TEXT
        ][:_MAX_CHOICES]

    return complete


def _choices(texts: dict[str, str], typed: str) -> Choices:
    found = [(name, text) for name, text in texts.items() if typed.strip().lower() in name.lower()]
    return [
        app_commands.Choice(name=text[:_MAX_TEXT], value=name)
        for name, text in found[:_MAX_CHOICES]
    ]
