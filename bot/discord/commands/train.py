"""`/train`: common settings are options of their own; all others go into `settings`."""

import inspect
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Literal, get_args

import discord
from discord import app_commands

from bot.discord.answers.answers import Interaction, guild_of, requester_of
from bot.discord.answers.attachment_file import read_attachment
from bot.discord.answers.run_actions import ShowRun
from bot.discord.buttons.plans import answer_plan
from bot.discord.commands.completion import Complete, gpu_names, settings_texts
from bot.discord.commands.settings_text import parse_settings
from bot.messages.options import TRAIN_OPTIONS
from bot.service.service import Service
from training.catalogue.models import MODELS, find_model
from training.errors import RequestError
from training.runs.hyperparameters import describe, option
from training.runs.setting_names import NAMES
from training.runs.spec import ExpertChoice, TrainRequest
from training.runs.training_items import check_config_size, read_config
from training.vocabulary import ExpertName

_Callback = Callable[..., Coroutine[Any, Any, None]]
_DESCRIPTION_LIMIT = 100
# The options for a dataset TOML. With them, `/train` has 14 options; Discord allows 25.
_CONFIG: Mapping[str, tuple[object, object]] = {
    "dataset_toml": (discord.Attachment, None),
    "dataset_config": (Literal["from-zip"], ""),
}
_TEXTS = {
    "model": "Model to train; /models describes them",
    "dataset": "Name of a dataset, or name@version",
    "name": "Name of the run; if left out, it is made from dataset and model",
    "expert": "Wan 2.2 only: train both experts, or one",
    "resume_from": "LoRA to start from: a /checkpoint, run-name/high-e20, or high=… low=…",
    "gpu": "Train on this GPU only, such as H200; leave it out for the model's default",
    "settings": "More settings, such as alpha=8 fp8=yes, or per expert: rank=16 high.rank=8",
    **{name: describe(name) for name in (*TRAIN_OPTIONS, *_CONFIG)},
}


def train_command(
    service: Service,
    show_run: ShowRun,
    dataset_names: Complete,
    starting_points: Complete,
) -> app_commands.Command[app_commands.Group, ..., None]:
    """Return the command `/train`.

    `dataset_names` and `starting_points` complete the options `dataset` and `resume-from`.
    """

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
            settings=_settings(options),
        )
        shown = await service.plans.ask(request, requester_of(interaction))
        await answer_plan(interaction, shown)
        if shown.draft is None:
            await show_run(guild_of(interaction), shown.plan.spec.name)

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
    command.autocomplete("settings")(settings_texts())
    return command


def _settings(options: Mapping[str, str]) -> dict[str, str]:
    """Return all settings by name: those with their own option, and those in `settings`.

    Raises:
        RequestError: The text of `settings` is invalid, or repeats an option.
    """
    given = {name: options[name] for name in TRAIN_OPTIONS if options.get(name)}
    choice = _expert(options.get("expert"))
    experts = find_model(options["model"]).experts
    names: list[ExpertName] = [expert.name for expert in experts if choice in ("both", expert.name)]
    more = parse_settings(options.get("settings") or "", names)
    if twice := [name for name in NAMES if name in given and name in more]:
        raise RequestError(
            f"{option(twice[0])} is given twice: as an option and in settings.", "Leave one out."
        )
    return given | more


def _signature() -> inspect.Signature:
    keyword = inspect.Parameter.POSITIONAL_OR_KEYWORD

    def text(name: str) -> inspect.Parameter:
        return inspect.Parameter(name, keyword, annotation=str, default="")

    return inspect.Signature(
        [
            inspect.Parameter("interaction", keyword, annotation=discord.Interaction),
            inspect.Parameter("model", keyword, annotation=str),
            inspect.Parameter("dataset", keyword, annotation=str),
            text("name"),
            *map(text, TRAIN_OPTIONS),
            text("settings"),
            inspect.Parameter(
                "expert", keyword, annotation=Literal["both", "high", "low"], default="both"
            ),
            text("resume_from"),
            text("gpu"),
            *(
                inspect.Parameter(name, keyword, annotation=kind, default=default)
                for name, (kind, default) in _CONFIG.items()
            ),
        ]
    )


def _described(callback: _Callback) -> _Callback:
    models = [
        app_commands.Choice(
            # Show only the first part of a long use case; /models shows all of it.
            name=f"{m.name}: {m.use_case.split(';')[0]}"[:_DESCRIPTION_LIMIT],
            value=m.name,
        )
        for m in MODELS
    ]
    described = app_commands.describe(
        **{name: text[:_DESCRIPTION_LIMIT] for name, text in _TEXTS.items()}
    )(callback)
    names = {name: option(name) for name in _TEXTS if option(name) != name}
    renamed = app_commands.rename(**names)(described)
    return app_commands.choices(model=models)(renamed)


def _expert(text: str | None) -> ExpertChoice:
    return next((choice for choice in get_args(ExpertChoice) if choice == text), "both")


async def _read_toml(attachment: discord.Attachment) -> str:
    # Check the size before the file is downloaded.
    check_config_size(attachment.filename, attachment.size)
    return read_config(attachment.filename, await read_attachment(attachment))
