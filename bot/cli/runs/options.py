"""The options that describe a run, shared by `lorabot train` and `lorabot plan`."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from bot.cli.datasets.zips import look_at
from bot.cli.home import GUILD, OPERATOR
from bot.cli.parameters import DatasetName, ModelName, ReadLayout
from bot.installation import Installation
from training.catalogue.gpus import GPUS
from training.dataset.config.user_toml_tables import LARGEST_BYTES
from training.dataset.report import Media
from training.errors import RequestError
from training.files.given_files import read_given
from training.operations.run_drafts import Requester
from training.operations.run_plans import RunPlan
from training.runs.hyperparameters import CONFIG_TEXTS, describe
from training.runs.spec import DatasetRef, ExpertChoice, TrainRequest
from training.runs.training_items import read_config
from training.vocabulary import EngineName

REQUESTER = Requester(guild=GUILD, by=OPERATOR)


def _help(name: str) -> Parameter:
    text = describe(name)
    return Parameter(help=f"{text[0].upper()}{text[1:]}.")


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """The optional settings; each takes one value, or one per expert, such as "high=8 low=42"."""

    preset: Annotated[str | None, _help("preset")] = None
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
    force_v2_1_time_embedding: Annotated[str | None, _help("force_v2_1_time_embedding")] = None
    fast: Annotated[str | None, _help("fast")] = None
    loraplus_lr_ratio: Annotated[str | None, _help("loraplus_lr_ratio")] = None
    items: Annotated[str | None, _help("items")] = None
    max_frames: Annotated[str | None, _help("max_frames")] = None
    resolution: Annotated[str | None, _help("resolution")] = None
    lightning_file: Annotated[str | None, _help("lightning_file")] = None
    lightning_strength: Annotated[str | None, _help("lightning_strength")] = None
    media: Annotated[
        Media | None, Parameter(help="Train on the repaired files or on the original ones.")
    ] = None
    dataset_toml: Annotated[Path | None, _help("dataset_toml")] = None
    dataset_config: Annotated[Literal["from-zip"] | None, _help("dataset_config")] = None
    name: Annotated[str | None, Parameter(help="Name of the run and its checkpoints.")] = None
    expert: Annotated[ExpertChoice, Parameter(help="Wan 2.2 only: train both experts, or one.")] = (
        "both"
    )
    gpu: Annotated[
        str | None,
        Parameter(
            help=f"Train on this GPU only: {', '.join(GPUS)}. Default: the model's usual GPU."
        ),
    ] = None
    resume_from: Annotated[
        str | None,
        Parameter(
            help="A LoRA to start from: a name listed by `lorabot checkpoint list`, or "
            'run-name/high-e20. One per expert: "high=A low=B".'
        ),
    ] = None

    def request(self, model: str, dataset: str) -> TrainRequest:
        """Return the request for a run with these settings.

        Raises:
            RequestError: The dataset TOML cannot be read.
        """
        others = {"name", "expert", "gpu", "resume_from", "media", *CONFIG_TEXTS}
        given = {f.name: getattr(self, f.name) for f in fields(RunSettings)}
        return TrainRequest(
            model=model,
            dataset=dataset,
            name=self.name,
            expert=self.expert,
            gpu=self.gpu,
            dataset_toml=_read_toml(self.dataset_toml) if self.dataset_toml else None,
            dataset_config=self.dataset_config,
            resume_from=self.resume_from,
            settings={n: v for n, v in given.items() if n not in others and v is not None},
        )


@dataclass(frozen=True, slots=True)
class DraftedRun:
    """A run that could start as described; nothing is stored yet."""

    request: TrainRequest
    ref: DatasetRef
    plan: RunPlan


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class RunOptions(RunSettings):
    """Everything that describes a run."""

    model: ModelName
    dataset: DatasetName
    read_layout: ReadLayout = False
    engine: Annotated[
        EngineName | None,
        Parameter(
            help="rehearsal trains a tiny stand-in model on the CPU; musubi needs a GPU. Default: "
            "rehearsal on this machine; on Modal, the deployment's engine."
        ),
    ] = None

    def draft(self, installation: Installation) -> DraftedRun:
        """Check the options against the dataset and the model.

        Raises:
            TrainingError: A run with these options could not start.
        """
        request = self.request(self.model, self.dataset)
        engine = self._engine_for(installation)
        installation.runtime.engine(engine)
        ref, report = look_at(installation, self.dataset, self.media, reads_layout=self.read_layout)
        plan = installation.runs.plan(request, REQUESTER, engine, (ref, report))
        return DraftedRun(request, ref, plan)

    def _engine_for(self, installation: Installation) -> EngineName:
        settings = installation.settings
        if settings.backend == "local":
            return self.engine or "rehearsal"
        if self.engine not in (None, settings.engine):
            raise RequestError(
                f"The deployment {settings.modal_app} trains with {settings.engine}, "
                f"not with {self.engine}.",
                "Leave out --engine, or create another deployment: "
                f"lorabot deploy --app NAME --engine {self.engine}.",
            )
        return settings.engine


def _read_toml(path: Path) -> str:
    return read_config(path.name, read_given(path, LARGEST_BYTES))
