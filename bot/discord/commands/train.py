"""`/train`: the settings people change most as options, all others in one text."""

import inspect
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Literal, get_args

import discord
from discord import app_commands

from bot.discord.answers.answers import Interaction, answer, guild_of, requester_of
from bot.discord.answers.run_actions import ShowRun
from bot.discord.commands.completion import Complete, gpu_names, settings_texts
from bot.discord.commands.settings_text import NAMES, parse_settings
from bot.messages.plan_text import plan_card
from bot.service.service import Service
from training.catalogue.models import MODELS, Model, find_model
from training.errors import RequestError
from training.runs.hyperparameters import describe, option
from training.runs.spec import ExpertChoice, TrainRequest
from training.runs.training_items import check_config_size, read_config
from training.vocabulary import ExpertName

_Callback = Callable[..., Coroutine[Any, Any, None]]
_DESCRIPTION_LIMIT = 100
# With model, dataset and the rest below these make 14; Discord allows 25.
_OPTIONS = ("epochs", "save_every", "learning_rate", "rank", "seed")
_CONFIG: Mapping[str, tuple[object, object]] = {
    "dataset_toml": (discord.Attachment, None),
    "dataset_config": (Literal["from-zip"], ""),
}
_TEXTS = {
    "model": "Model to train; /models describes them",
    "dataset": "Name of a dataset, or name@version",
    "name": "Name of the run; made from dataset and model if you leave it out",
    "expert": "Wan 2.2 only: train both experts, or one",
    "resume_from": "LoRA to start from: a /checkpoint, run-name/high-e20, or high=… low=…",
    "gpu": "GPU to train on, such as H200; the model's own if you leave it out",
    "settings": "More settings, such as alpha=8 fp8=yes, or per expert: rank=16 high.rank=8",
    **{name: describe(name) for name in (*_OPTIONS, *_CONFIG)},
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
            settings=_settings(options),
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
    command.autocomplete("settings")(settings_texts())
    return command


def _settings(options: Mapping[str, str]) -> dict[str, str]:
    """Return the settings of the options and of the text `settings`.

    Raises:
        RequestError: The text is not understood, or repeats an option.
    """
    given = {name: options[name] for name in _OPTIONS if options.get(name)}
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
            *map(text, _OPTIONS),
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
    models = [app_commands.Choice(name=_choice_text(m), value=m.name) for m in MODELS]
    described = app_commands.describe(
        **{name: text[:_DESCRIPTION_LIMIT] for name, text in _TEXTS.items()}
    )(callback)
    names = {name: option(name) for name in _TEXTS if option(name) != name}
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
