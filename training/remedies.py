"""What helps after a failure, as data; each front end words it as a command, option or button."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from training.vocabulary import Resolution


@dataclass(frozen=True, slots=True, kw_only=True)
class FewerFrames:
    """Train on at most `max_frames` frames per clip."""

    max_frames: int
    kind: Literal["fewer_frames"] = "fewer_frames"


@dataclass(frozen=True, slots=True, kw_only=True)
class LowerResolution:
    """Train at no more than this resolution's area."""

    resolution: Resolution
    kind: Literal["lower_resolution"] = "lower_resolution"


@dataclass(frozen=True, slots=True, kw_only=True)
class SwapBlocks:
    """Keep `blocks` idle blocks of the model in main memory."""

    blocks: int
    kind: Literal["swap_blocks"] = "swap_blocks"


@dataclass(frozen=True, slots=True, kw_only=True)
class UseFp8:
    """Keep the base model's weights in 8 bits."""

    kind: Literal["use_fp8"] = "use_fp8"


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheAgain:
    """Rebuild the caches instead of reusing them."""

    kind: Literal["cache_again"] = "cache_again"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeRun:
    """Resume a failed or cancelled run; `run` is empty where the failure does not know its run."""

    run: str = ""
    kind: Literal["resume_run"] = "resume_run"


@dataclass(frozen=True, slots=True, kw_only=True)
class StartRun:
    """Start another run."""

    kind: Literal["start_run"] = "start_run"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowRuns:
    """Look at the runs, or at one of them."""

    run: str = ""
    kind: Literal["show_runs"] = "show_runs"


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadRun:
    """Download what a run saved."""

    run: str
    kind: Literal["download_run"] = "download_run"


@dataclass(frozen=True, slots=True, kw_only=True)
class AddDataset:
    """Upload a zip as a dataset or a new version of one."""

    name: str = ""
    kind: Literal["add_dataset"] = "add_dataset"


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveDataset:
    """Remove a dataset or a version."""

    name: str
    kind: Literal["remove_dataset"] = "remove_dataset"


@dataclass(frozen=True, slots=True, kw_only=True)
class AddLora:
    """Upload a LoRA file to train on from."""

    kind: Literal["add_lora"] = "add_lora"


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveLora:
    """Remove an uploaded LoRA file."""

    name: str
    kind: Literal["remove_lora"] = "remove_lora"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deploy:
    """The operator deploys the app on Modal again."""

    app: str = ""
    kind: Literal["deploy"] = "deploy"


_Setting = FewerFrames | LowerResolution | SwapBlocks | UseFp8 | CacheAgain
# A changed setting with which a failed run may succeed; a button can apply it.
Suggestion = Annotated[_Setting, Field(discriminator="kind")]
Remedy = Annotated[
    _Setting
    | ResumeRun
    | StartRun
    | ShowRuns
    | DownloadRun
    | AddDataset
    | RemoveDataset
    | AddLora
    | RemoveLora
    | Deploy,
    Field(discriminator="kind"),
]


def suggested(remedy: Remedy | None) -> Suggestion | None:
    """Return the remedy if it is a changed setting."""
    return remedy if isinstance(remedy, _Setting) else None


def about_run(remedy: Remedy | None, run: str) -> Remedy | None:
    """Return the remedy with the run filled in where it means the failed one."""
    return ResumeRun(run=run) if remedy == ResumeRun() else remedy


def keeps_items(suggestion: Suggestion) -> bool:
    """Return whether the training items stay the same, so that a training state still fits.

    Fewer frames or smaller pictures change the items and the number of steps per epoch.
    """
    return not isinstance(suggestion, FewerFrames | LowerResolution)
