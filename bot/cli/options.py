"""What several commands take: where state lives, and the settings of a run."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from bot.settings import Settings
from bot.wiring import LocalHouse
from training.cutting import read_config
from training.dataset.report import Media
from training.errors import NotFoundError
from training.gpus import GPUS
from training.request import EngineName, ExpertChoice, TrainRequest
from training.runs import Origin
from training.settings import CONFIG_TEXTS, describe

GUILD = "local"  # the command line's own guild
OPERATOR = "operator"
ORIGIN = Origin(guild=GUILD, by=OPERATOR)

Json = Annotated[bool, Parameter(help="Print JSON with stable fields.", negative=())]
ModelName = Annotated[str, Parameter(help="A name of `lorabot models`.")]
DatasetName = Annotated[str, Parameter(help="A zip file, or the name of a stored dataset.")]
Trigger = Annotated[
    str | None, Parameter(help="A word that every caption should hold, such as ann1ka.")
]
RunName = Annotated[str, Parameter(help="A name of `lorabot runs`.")]
Engine = Annotated[
    EngineName,
    Parameter(help="rehearsal trains a tiny stand-in on this CPU; musubi needs a GPU."),
]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Home:
    """Where all state of this installation lives."""

    home: Annotated[
        Path | None, Parameter(help="Folder for all state; LORABOT_HOME, or ~/.lorabot.")
    ] = None

    def settings(self) -> Settings:
        """Return the environment's settings with this folder."""
        return Settings.read(self.home)

    def open(self) -> LocalHouse:
        """Return the adapters that work on this folder."""
        return LocalHouse(self.settings())


def _help(name: str) -> Parameter:
    text = describe(name)
    return Parameter(help=f"{text[0].upper()}{text[1:]}.")


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """The settings of a run: one value for all experts, or one each: "high=8 low=42"."""

    learning_rate: Annotated[str | None, _help("learning_rate")] = None
    rank: Annotated[str | None, _help("rank")] = None
    alpha: Annotated[str | None, _help("alpha")] = None
    flow_shift: Annotated[str | None, _help("flow_shift")] = None
    epochs: Annotated[str | None, _help("epochs")] = None
    save_every: Annotated[str | None, _help("save_every")] = None
    seed: Annotated[str | None, _help("seed")] = None
    scheduler: Annotated[str | None, _help("scheduler")] = None
    scheduler_power: Annotated[str | None, _help("scheduler_power")] = None
    min_lr_ratio: Annotated[str | None, _help("min_lr_ratio")] = None
    optimizer: Annotated[str | None, _help("optimizer")] = None
    blocks_to_swap: Annotated[str | None, _help("blocks_to_swap")] = None
    fp8: Annotated[str | None, _help("fp8")] = None
    max_frames: Annotated[str | None, _help("max_frames")] = None
    resolution: Annotated[str | None, _help("resolution")] = None
    lightning_file: Annotated[str | None, _help("lightning_file")] = None
    lightning_strength: Annotated[str | None, _help("lightning_strength")] = None
    media: Annotated[
        Media | None,
        Parameter(help="Train on the repaired files, or on the original ones as they are."),
    ] = None
    dataset_toml: Annotated[Path | None, _help("dataset_toml")] = None
    dataset_config: Annotated[Literal["from-zip"] | None, _help("dataset_config")] = None
    name: Annotated[str | None, Parameter(help="Name of the run and of its checkpoints.")] = None
    expert: Annotated[
        ExpertChoice, Parameter(help="Wan 2.2 only: train both experts or one of them.")
    ] = "both"
    gpu: Annotated[
        str | None,
        Parameter(help=f"GPU to cache and train on: {', '.join(GPUS)}; the model's own else."),
    ] = None

    resume_from: Annotated[
        str | None,
        Parameter(
            help="A LoRA to start from: a name of `lorabot checkpoint list`, or run-name/high-e20; "
            'one for each expert as "high=A low=B".'
        ),
    ] = None

    def request(self, model: str, dataset: str) -> TrainRequest:
        """Return what is asked for with these settings.

        Raises:
            RequestError: The dataset TOML cannot be read.
        """
        others = {"name", "expert", "gpu", "resume_from", "media", *CONFIG_TEXTS}
        given = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in others}
        return TrainRequest(
            model=model,
            dataset=dataset,
            name=self.name,
            expert=self.expert,
            gpu=self.gpu,
            dataset_toml=_read_toml(self.dataset_toml) if self.dataset_toml else None,
            dataset_config=self.dataset_config,
            resume_from=self.resume_from,
            settings={name: value for name, value in given.items() if value is not None},
        )


def _read_toml(path: Path) -> str:
    try:
        return read_config(path.name, path.read_bytes())
    except OSError as error:
        raise NotFoundError(
            f"{path} cannot be read: {error.strerror}.", "Check the path of the TOML."
        ) from error
