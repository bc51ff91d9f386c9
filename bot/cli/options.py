"""What several commands take: where state lives, and the settings of a run."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from bot.hosting.local import LocalInstallation
from bot.installation import Installation
from bot.settings import BackendName, Settings
from training.catalogue.gpus import GPUS
from training.dataset.report import Media
from training.errors import NotFoundError, RequestError
from training.operations.run_drafts import Requester
from training.runs.hyperparameters import CONFIG_TEXTS, describe
from training.runs.spec import ExpertChoice, TrainRequest
from training.runs.training_items import read_config
from training.vocabulary import EngineName

GUILD = "local"  # the command line's own guild
OPERATOR = "operator"
REQUESTER = Requester(guild=GUILD, by=OPERATOR)

Json = Annotated[bool, Parameter(help="Print JSON with stable fields.", negative=())]
ModelName = Annotated[str, Parameter(help="A name of `lorabot models`.")]
DatasetName = Annotated[str, Parameter(help="A zip file, or the name of a stored dataset.")]
Trigger = Annotated[
    str | None, Parameter(help="A word that every caption should hold, such as ann1ka.")
]
RunName = Annotated[str, Parameter(help="A name of `lorabot runs`.")]
Engine = Annotated[
    EngineName | None,
    Parameter(
        help="rehearsal, the default on this machine, trains a tiny stand-in on its CPU; musubi "
        "needs a GPU. A deployment on Modal has its own."
    ),
]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Home:
    """Which installation is worked on: a folder of this machine, or a deployment on Modal."""

    home: Annotated[
        Path | None, Parameter(help="Folder for all state; LORABOT_HOME, or ~/.lorabot.")
    ] = None
    backend: Annotated[
        BackendName | None,
        Parameter(help="local, the default, or modal: a deployment there; LORABOT_BACKEND."),
    ] = None
    app: Annotated[
        str | None, Parameter(help="Name of the deployment; LORABOT_MODAL_APP, or lorabot.")
    ] = None

    def settings(self) -> Settings:
        """Return the environment's settings with what is given here.

        Raises:
            RequestError: A deployment is named where none is worked on.
        """
        read = Settings.read(self.home, backend=self.backend, modal_app=self.app)
        if self.app is not None and read.backend == "local":
            raise RequestError(
                f"--app {self.app} names a deployment on Modal, and this works on this machine.",
                "Add --backend modal, or leave out --app.",
            )
        return read

    def open(self) -> Installation:
        """Return what works on this installation.

        Raises:
            RequestError: Modal is not set up on this machine.
            NotFoundError: Nothing is deployed under that name.
        """
        settings = self.settings()
        if settings.backend == "local":
            return LocalInstallation(settings)
        # Imported when it is needed: the client takes half a second.
        from bot.deploy.operator import open_deployment  # noqa: PLC0415

        return open_deployment(settings)

    def this_machine(self, what: str) -> Settings:
        """Return the settings for a command that works on one machine only.

        Raises:
            RequestError: Modal is asked for.
        """
        settings = self.settings()
        if settings.backend != "local":
            raise RequestError(
                f"lorabot {what} works on one machine, not on a deployment on Modal.",
                "Use --backend local; lorabot deploy brings the bot to Modal.",
            )
        return settings

    @property
    def words(self) -> str:
        """Return the options that name this installation in other commands, if any."""
        given = {"home": self.home, "backend": self.backend, "app": self.app}
        return "".join(f" --{name} {value}" for name, value in given.items() if value is not None)


def engine_for(installation: Installation, asked: EngineName | None) -> EngineName:
    """Return what trains: what was asked for, or the installation's own.

    Raises:
        RequestError: A deployment trains with another engine.
    """
    settings = installation.settings
    if settings.backend == "local":
        return asked or "rehearsal"
    if asked not in (None, settings.engine):
        raise RequestError(
            f"The deployment {settings.modal_app} trains with {settings.engine}, not with {asked}.",
            f"Leave out --engine, or make another: lorabot deploy --app NAME --engine {asked}.",
        )
    return settings.engine


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
