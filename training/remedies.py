"""Remedies for failures, as data; a front end turns them into commands, options or buttons."""

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
    """Train at this lower resolution."""

    resolution: Resolution
    kind: Literal["lower_resolution"] = "lower_resolution"


@dataclass(frozen=True, slots=True, kw_only=True)
class SwapBlocks:
    """Keep `blocks` blocks of the model in main memory while they are not in use."""

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
class LowerRate:
    """Continue training with this learning rate."""

    learning_rate: float
    kind: Literal["lower_rate"] = "lower_rate"


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaveOut:
    """Train without the sample that is called `sample` in the dataset."""

    sample: str
    kind: Literal["leave_out"] = "leave_out"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeRun:
    """Resume a failed or cancelled run; `run` is "" for the run that the failure is about."""

    run: str = ""
    kind: Literal["resume_run"] = "resume_run"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmRun:
    """Start the requested run despite its unusual settings."""

    kind: Literal["confirm_run"] = "confirm_run"


@dataclass(frozen=True, slots=True, kw_only=True)
class StartRun:
    """Start another run."""

    kind: Literal["start_run"] = "start_run"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowRuns:
    """Show the run called `run`, or all runs if `run` is empty."""

    run: str = ""
    kind: Literal["show_runs"] = "show_runs"


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadRun:
    """Download the files that a run saved."""

    run: str
    kind: Literal["download_run"] = "download_run"


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveRun:
    """Remove a run."""

    run: str
    kind: Literal["remove_run"] = "remove_run"


@dataclass(frozen=True, slots=True, kw_only=True)
class AddDataset:
    """Upload a zip as a new dataset, or as a new version of one.

    Attributes:
        keeps_files: Whether the new version also keeps the dataset's existing files.
    """

    name: str = ""
    keeps_files: bool = False
    kind: Literal["add_dataset"] = "add_dataset"


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteCaptions:
    """Write the missing captions, or leave these samples out.

    `name` is a stored dataset, or "" for the upload that the failure is about.
    """

    name: str = ""
    kind: Literal["write_captions"] = "write_captions"


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaveOutFiles:
    """Leave out an upload's unusable files, and its samples without a caption."""

    kind: Literal["leave_out_files"] = "leave_out_files"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadLayout:
    """Read an uploaded zip again, this time in another tool's layout, which its files match."""

    kind: Literal["read_layout"] = "read_layout"


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveDataset:
    """Remove a dataset or a version."""

    name: str
    kind: Literal["remove_dataset"] = "remove_dataset"


@dataclass(frozen=True, slots=True, kw_only=True)
class AddLora:
    """Upload a LoRA file that a run can start from."""

    kind: Literal["add_lora"] = "add_lora"


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveLora:
    """Remove an uploaded LoRA file."""

    name: str
    kind: Literal["remove_lora"] = "remove_lora"


@dataclass(frozen=True, slots=True, kw_only=True)
class Restore:
    """Restore something from the trash: a dataset or a version, an uploaded LoRA file, or a run."""

    what: Literal["datasets", "checkpoints", "runs"]
    name: str
    kind: Literal["restore"] = "restore"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deploy:
    """Ask the operator to deploy the app on Modal again."""

    app: str = ""
    kind: Literal["deploy"] = "deploy"


_Setting = FewerFrames | LowerResolution | SwapBlocks | UseFp8 | CacheAgain | LowerRate | LeaveOut
# A changed setting that may let a failed run succeed; a button can apply it.
Suggestion = Annotated[_Setting, Field(discriminator="kind")]
Remedy = Annotated[
    _Setting
    | ResumeRun
    | StartRun
    | ConfirmRun
    | ShowRuns
    | DownloadRun
    | RemoveRun
    | AddDataset
    | WriteCaptions
    | LeaveOutFiles
    | ReadLayout
    | RemoveDataset
    | AddLora
    | RemoveLora
    | Restore
    | Deploy,
    Field(discriminator="kind"),
]


def suggested(remedy: Remedy | None) -> Suggestion | None:
    return remedy if isinstance(remedy, _Setting) else None


def about_run(remedy: Remedy | None, run: str) -> Remedy | None:
    """Return `remedy`; if it is a `ResumeRun` without a run's name, set the name to `run`."""
    return ResumeRun(run=run) if remedy == ResumeRun() else remedy


def keeps_items(suggestion: Suggestion) -> bool:
    """Return whether a suggestion leaves the training items unchanged.

    If so, saved training states still fit. Fewer frames, a lower resolution or fewer samples change
    the number of steps per epoch.
    """
    return not isinstance(suggestion, FewerFrames | LowerResolution | LeaveOut)
