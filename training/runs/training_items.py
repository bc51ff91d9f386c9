"""Splits a run's dataset into training items: by the guide's rules or by the user's TOML."""

from training.catalogue.models import Model, find_model
from training.dataset.config.group import GroupPlan
from training.dataset.config.guide_groups import plan_groups
from training.dataset.config.user_toml import plan_user_toml
from training.dataset.config.user_toml_tables import LARGEST_BYTES
from training.dataset.report import Finding, Report
from training.errors import RequestError
from training.runs.hyperparameters import ItemSettings, option
from training.runs.spec import RunSpec

_SHOWN = 5


def cut_dataset(
    report: Report, model: Model, items: ItemSettings, dataset_toml: str | None = None
) -> GroupPlan:
    """Return the groups that a run trains in.

    Args:
        report: The report on the dataset as trained.
        model: Decides the resolution, unless `items` does.
        items: Limits for training items.
        dataset_toml: The text of the user's dataset TOML, instead of the guide's groups.

    Raises:
        RequestError: The settings contradict each other, or the TOML is not usable.
    """
    if dataset_toml is None:
        return plan_groups(report, items.resolution or model.resolution, items.max_frames)
    for name, value in items:
        if value is not None:
            raise RequestError(
                f"{option(name)} cannot be combined with your own dataset TOML.",
                "Leave one of them out; the TOML itself sets frames and resolution.",
            )
    return _own(dataset_toml, report)


def cut_run(report: Report, spec: RunSpec) -> GroupPlan:
    """Return the groups that a run trains in, by its spec."""
    return cut_dataset(report, find_model(spec.model), spec.items, spec.dataset_toml)


def remarks(dataset_toml: str | None, report: Report) -> tuple[Finding, ...]:
    """Return the findings on the user's TOML; none without a TOML."""
    return plan_user_toml(dataset_toml, report).findings if dataset_toml is not None else ()


def config_of_zip(report: Report) -> str:
    """Return the dataset TOML of the zip.

    Raises:
        RequestError: The zip has none, or more than one.
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
    """Refuse a file that is too large for a dataset TOML.

    Raises:
        RequestError: It is too large.
    """
    if size_bytes > LARGEST_BYTES:
        raise RequestError(
            f"{file} has {size_bytes:,} bytes; a dataset TOML has at most {LARGEST_BYTES:,}.",
            "Give the dataset's TOML, a few dozen lines long.",
        )


def read_config(file: str, content: bytes) -> str:
    """Return the text of an uploaded dataset TOML.

    Raises:
        RequestError: It is too large, or not text.
    """
    check_config_size(file, len(content))
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RequestError(
            f"{file} is not plain text.", "Save it as plain text (UTF-8)."
        ) from error


def _own(text: str, report: Report) -> GroupPlan:
    own = plan_user_toml(text, report)
    if not own.errors:
        return own.plan
    shown = own.errors[:_SHOWN]
    rest = f" And {len(own.errors) - len(shown)} more." if len(own.errors) > len(shown) else ""
    raise RequestError(
        "The dataset TOML cannot be used. " + " ".join(f.cause for f in shown) + rest,
        " ".join(dict.fromkeys(finding.fix for finding in shown)),
    )
