"""`/train`: its options are the settings of the domain, none written down twice."""

import inspect
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Literal, get_args

import discord
from discord import app_commands

from bot.discord.answers.answers import Interaction, answer, guild_of, requester_of
from bot.discord.answers.run_actions import ShowRun
from bot.discord.commands.completion import Complete, fixed, gpu_names
from bot.messages.plan_text import plan_card
from bot.service.service import Service
from training.catalogue.models import MODELS, Model
from training.runs.hyperparameters import (
    ITEM_NAMES,
    LIGHTNING_NAMES,
    SETTING_NAMES,
    Optimizer,
    describe,
    option,
)
from training.runs.lr_schedules import Scheduler
from training.runs.spec import ExpertChoice, TrainRequest
from training.runs.training_items import check_config_size, read_config
from training.vocabulary import Resolution

_Callback = Callable[..., Coroutine[Any, Any, None]]
_DESCRIPTION_LIMIT = 100
_SETTINGS = (*SETTING_NAMES, *ITEM_NAMES, *LIGHTNING_NAMES)
_CONFIG: Mapping[str, tuple[object, object]] = {
    "dataset_toml": (discord.Attachment, None),
    "dataset_config": (Literal["from-zip"], ""),
}
# Every setting is text: one value for all experts, or high=… low=….
_SUGGESTED = {
    "scheduler": get_args(Scheduler),
    "optimizer": get_args(Optimizer),
    "resolution": get_args(Resolution),
}


def train_command(
    service: Service,
    show_run: ShowRun,
    dataset_names: Complete,
    starting_points: Complete,
) -> app_commands.Command[app_commands.Group, ..., None]:
    """Return the command; the last two complete the options dataset and resume-from."""

    async def train(
        interaction: Interaction,
        /,
        dataset_toml: discord.Attachment | None = None,
        **options: str,
    ) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        request = TrainRequest(
            model=options["model"],
            dataset=options["dataset"],
            name=options.get("name") or None,
            expert=_expert(options.get("expert")),
            resume_from=options.get("resume_from") or None,
            gpu=options.get("gpu") or None,
            dataset_toml=await _read_toml(dataset_toml) if dataset_toml else None,
            dataset_config="from-zip" if options.get("dataset_config") else None,
            settings={name: options[name] for name in _SETTINGS if options.get(name)},
        )
        started = await service.train(request, requester_of(interaction))
        card = plan_card(started.spec, started.estimate, started.groups, started.remarks)
        await answer(interaction, card, ephemeral=True)
        await show_run(guild_of(interaction), started.spec.name)

    train.__signature__ = _signature()
    command = app_commands.Command[app_commands.Group, ..., None](
        name="train",
        description="Train a LoRA on a dataset",
        callback=_described(train),
    )
    command.guild_only = True
    command.autocomplete("dataset")(dataset_names)
    command.autocomplete("resume_from")(starting_points)
    command.autocomplete("gpu")(gpu_names(service))
    for name, values in _SUGGESTED.items():
        command.autocomplete(option(name))(fixed(values))
    return command


def _signature() -> inspect.Signature:
    keyword = inspect.Parameter.POSITIONAL_OR_KEYWORD
    required = [
        inspect.Parameter("interaction", keyword, annotation=discord.Interaction),
        inspect.Parameter("model", keyword, annotation=str),
        inspect.Parameter("dataset", keyword, annotation=str),
    ]
    optional = [
        inspect.Parameter("name", keyword, annotation=str, default=""),
        inspect.Parameter(
            "expert", keyword, annotation=Literal["both", "high", "low"], default="both"
        ),
        inspect.Parameter("resume_from", keyword, annotation=str, default=""),
        inspect.Parameter("gpu", keyword, annotation=str, default=""),
        *(inspect.Parameter(name, keyword, annotation=str, default="") for name in _SETTINGS),
        *(
            inspect.Parameter(name, keyword, annotation=kind, default=default)
            for name, (kind, default) in _CONFIG.items()
        ),
    ]
    return inspect.Signature([*required, *optional])


def _described(callback: _Callback) -> _Callback:
    texts = {
        "model": "Which model to train for; /models explains them",
        "dataset": "Name of a dataset, or name@version",
        "name": "Name of the run; made from dataset and model when left out",
        "expert": "Wan 2.2 only: train both experts or one",
        "resume_from": "A LoRA to start from: a /checkpoint, run-name/high-e20, or high=… low=…",
        "gpu": "GPU to cache and train on, such as H200; the model's own when left out",
        **{name: describe(name) for name in (*_SETTINGS, *_CONFIG)},
    }
    models = [app_commands.Choice(name=_choice_text(m), value=m.name) for m in MODELS]
    described = app_commands.describe(
        **{name: text[:_DESCRIPTION_LIMIT] for name, text in texts.items()}
    )(callback)
    names = {name: option(name) for name in texts if option(name) != name}
    renamed = app_commands.rename(**names)(described)
    return app_commands.choices(model=models)(renamed)


def _choice_text(model: Model) -> str:
    # The rest of a longer use case is in /models.
    return f"{model.name}: {model.use_case.split(';')[0]}"[:_DESCRIPTION_LIMIT]


def _expert(text: str | None) -> ExpertChoice:
    return next((choice for choice in get_args(ExpertChoice) if choice == text), "both")


async def _read_toml(attachment: discord.Attachment) -> str:
    check_config_size(attachment.filename, attachment.size)  # before a byte of it is fetched
    return read_config(attachment.filename, await attachment.read())
