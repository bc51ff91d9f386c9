"""Splits a run's dataset into training items, by the default rules or by the user's TOML."""

from collections.abc import Collection

from training.catalogue.models import Model
from training.dataset.config.group import GroupPlan
from training.dataset.config.guide_groups import plan_groups
from training.dataset.config.user_toml import plan_user_toml
from training.dataset.config.user_toml_tables import LARGEST_BYTES
from training.dataset.report import Finding, Report, causes_and_fixes
from training.errors import RequestError
from training.runs.hyperparameters import ItemSettings, option
from training.runs.spec import RunSpec


def cut_dataset(
    report: Report, model: Model, items: ItemSettings, dataset_toml: str | None = None
) -> GroupPlan:
    """Return the groups of items that a run trains on, by the default rules or the user's TOML.

    Raises:
        RequestError: The settings contradict each other, or the TOML cannot be used.
    """
    if dataset_toml is None:
        return plan_groups(
            report,
            items.resolution or model.resolution,
            items.max_frames,
            has_single_frames=items.items != "clips",
        )
    for name, value in items:
        if value is not None:
            raise RequestError(
                f"{option(name)} cannot be combined with your own dataset TOML.",
                "Leave one of the two out; the TOML itself sets frames and resolution.",
            )
    own = plan_user_toml(dataset_toml, report)
    if own.errors:
        causes, fixes = causes_and_fixes(own.errors)
        raise RequestError(f"The dataset TOML cannot be used. {causes}", fixes)
    return own.plan


def cut_run(report: Report, spec: RunSpec, model: Model) -> GroupPlan:
    return cut_dataset(without(report, spec.left_out), model, spec.items, spec.dataset_toml)


def without(report: Report, left_out: Collection[str]) -> Report:
    """Return the report without the samples of these names."""
    if not left_out:
        return report
    samples = tuple(sample for sample in report.samples if sample.name not in left_out)
    return report.model_copy(update={"samples": samples})


def remarks(dataset_toml: str | None, report: Report) -> tuple[Finding, ...]:
    """Return remarks on the user's dataset TOML; () if there is no TOML."""
    return plan_user_toml(dataset_toml, report).findings if dataset_toml is not None else ()


def config_of_zip(report: Report) -> str:
    """Return the text of the dataset TOML inside the dataset's zip.

    Raises:
        RequestError: The zip has no dataset TOML, or more than one.
    """
    if len(report.configs) == 1:
        return report.configs[0].text
    if not report.configs:
        raise RequestError(
            "There is no dataset TOML in the dataset's zip.",
            "Leave dataset-config out, or give a TOML file with dataset-toml.",
        )
    names = ", ".join(config.file for config in report.configs)
    raise RequestError(
        f"There is more than one dataset TOML in the dataset's zip: {names}.",
        "Choose one of the files, and give it with dataset-toml instead of dataset-config.",
    )


def check_config_size(file: str, size_bytes: int) -> None:
    """Raise `RequestError` if a file is too large for a dataset TOML."""
    if size_bytes > LARGEST_BYTES:
        raise RequestError(
            f"{file} is {size_bytes:,} bytes; the limit for a dataset TOML is {LARGEST_BYTES:,}.",
            "A dataset TOML has a few dozen lines; check that you sent the right file.",
        )


def read_config(file: str, content: bytes) -> str:
    """Return the text of an uploaded dataset TOML.

    Raises:
        RequestError: The file is too large, or not text.
    """
    check_config_size(file, len(content))
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RequestError(
            f"{file} is not plain text.", "Save the file as plain text (UTF-8)."
        ) from error
