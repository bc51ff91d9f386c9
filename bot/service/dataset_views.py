"""Datasets as the bot shows them: what was found, the contact sheet, what can be done."""

from dataclasses import dataclass

from bot.messages.contact_sheet import draw_sheet
from bot.messages.dataset_text import report_text
from training.dataset.config.guide_groups import GroupPlan, plan_groups
from training.dataset.original import why_not_original
from training.dataset.report import Report
from training.registry.dataset_draft import Thumbnails
from training.registry.datasets import DatasetVersion


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What was found in a set, as it is shown.

    Attributes:
        text: The whole report.
        sheet: The contact sheet, a JPEG.
        no_original: Why the media cannot be kept as uploaded, None where they can.
        trigger: A word that every caption should hold.
    """

    report: Report
    text: str
    groups: GroupPlan
    sheet: bytes | None
    no_original: str | None
    trigger: str | None

    @property
    def needs_prefix(self) -> str | None:
        """The trigger word, where some captions lack it."""
        return self.trigger if "trigger-missing" in self.report.codes() else None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredDataset:
    """A stored version, what was found in it, and the versions kept beside it.

    Attributes:
        is_new: This request stored it; otherwise the same content was there already.
        same_as: An older version with the same content.
    """

    version: DatasetVersion
    looked: Looked
    same_as: str | None
    others: tuple[int, ...]
    is_new: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedDataset:
    """A set that was looked at and not stored.

    Attributes:
        token: Names the upload for a day; None for a stored version.
        version: The stored version, where one was checked again.
    """

    name: str
    looked: Looked
    token: str | None = None
    version: DatasetVersion | None = None


def look(report: Report, thumbnails: Thumbnails, trigger: str | None) -> Looked:
    """Return a set as it is shown, all that takes time to make of it made."""
    return Looked(
        report=report,
        text=report_text(report),
        groups=plan_groups(report),
        sheet=draw_sheet(report, thumbnails.images()),
        no_original=_no_original(report),
        trigger=trigger,
    )


def _no_original(report: Report) -> str | None:
    if (reason := why_not_original(report)) is not None:
        return reason
    if all(sample.is_copied for sample in report.samples):
        return "Every image and clip is as wanted already; repair changes none of them."
    return None
