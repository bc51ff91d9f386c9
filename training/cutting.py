"""How a run's dataset is cut into items: as the guide does for the model, or by a user's TOML."""

from typing import Protocol

from training.catalogue import Model, Resolution
from training.dataset.group import GroupPlan
from training.dataset.groups import plan_groups
from training.dataset.own_tables import LARGEST_BYTES
from training.dataset.own_toml import plan_own
from training.dataset.report import Finding, Report
from training.errors import RequestError

MOST_FRAMES = 129
_SHOWN = 5


class Cut(Protocol):
    """What a request and a run's spec say about cutting; None leaves it to the guide."""

    @property
    def max_frames(self) -> int | None:
        """Return the longest item in frames."""
        ...

    @property
    def resolution(self) -> Resolution | None:
        """Return the size in place of the model's."""
        ...

    @property
    def dataset_toml(self) -> str | None:
        """Return the text of a dataset TOML for the trainer."""
        ...


def cut_dataset(report: Report, model: Model, cut: Cut) -> GroupPlan:
    """Return the groups that a run trains in.

    Raises:
        RequestError: The wishes contradict each other, are out of range, or the TOML is not usable.
    """
    if cut.dataset_toml is None:
        if cut.max_frames is not None and not 1 <= cut.max_frames <= MOST_FRAMES:
            raise RequestError(
                f"max-frames cannot be {cut.max_frames}.",
                f"Give a whole number from 1 to {MOST_FRAMES}, such as 21.",
            )
        return plan_groups(report, cut.resolution or model.resolution, cut.max_frames)
    for name, value in (("max-frames", cut.max_frames), ("resolution", cut.resolution)):
        if value is not None:
            raise RequestError(
                f"{name} and a dataset TOML of your own contradict each other.",
                "Leave one of them out; the TOML itself sets frames and resolution.",
            )
    return _own(cut.dataset_toml, report)


def remarks(cut: Cut, report: Report) -> tuple[Finding, ...]:
    """Return what is to be said about the user's own TOML; nothing where there is none."""
    return plan_own(cut.dataset_toml, report).findings if cut.dataset_toml is not None else ()


def config_of_zip(report: Report) -> str:
    """Return the dataset TOML that lay in the zip.

    Raises:
        RequestError: There is none, or more than one.
    """
    if len(report.configs) == 1:
        return report.configs[0].text
    if not report.configs:
        raise RequestError(
            "There is no dataset TOML in the dataset's zip.",
            "Leave the option out, or give a file with dataset-toml.",
        )
    names = ", ".join(config.file for config in report.configs)
    raise RequestError(
        f"There is more than one dataset TOML in the dataset's zip: {names}.",
        "Give the one to use with dataset-toml.",
    )


def check_config_size(file: str, size_bytes: int) -> None:
    """Refuse a file that is too long for a dataset TOML.

    Raises:
        RequestError: It is.
    """
    if size_bytes > LARGEST_BYTES:
        raise RequestError(
            f"{file} has {size_bytes:,} bytes; a dataset TOML has at most {LARGEST_BYTES:,}.",
            "Give the dataset's TOML, a few dozen lines long.",
        )


def read_config(file: str, content: bytes) -> str:
    """Return the text of an uploaded dataset TOML.

    Raises:
        RequestError: It is too long, or not a text.
    """
    check_config_size(file, len(content))
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RequestError(
            f"{file} is not a plain text.", "Save it as plain text (UTF-8)."
        ) from error


def _own(text: str, report: Report) -> GroupPlan:
    own = plan_own(text, report)
    if not own.errors:
        return own.plan
    shown = own.errors[:_SHOWN]
    rest = f" And {len(own.errors) - len(shown)} more." if len(own.errors) > len(shown) else ""
    raise RequestError(
        "The dataset TOML cannot be used. " + " ".join(f.cause for f in shown) + rest,
        " ".join(dict.fromkeys(finding.fix for finding in shown)),
    )
