"""Texts about upload links and about imports from a link."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, assert_never

from bot.messages.card import Card, Colour
from bot.messages.figures import about, bar
from bot.messages.markdown import escape
from training.dataset.limits import Limits
from training.files.sizes import size
from training.registry.uploads.session import (
    DatasetTarget,
    ImportSource,
    LoraTarget,
    UploadSession,
)

LARGER = "Upload a larger file"
ImportStatus = Literal["waiting", "fetching", "lost", "checking"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportProgress:
    """The progress of an import.

    Attributes:
        status: "waiting" until other imports have ended, "lost" while the other server cannot be
            reached, else "fetching" or "checking".
        bytes_per_second: 0 if unknown.
        checked: The number of checked files and of all files; (0, 0) if unknown.
    """

    session: UploadSession
    status: ImportStatus
    received_bytes: int
    bytes_per_second: float = 0.0
    checked: tuple[int, int] = (0, 0)

    @property
    def source(self) -> ImportSource:
        """Return what is imported, and from where.

        Raises:
            ValueError: The upload is not an import.
        """
        if self.session.source is None:
            raise ValueError("this upload is not an import")
        return self.session.source


def title_text(target: DatasetTarget | LoraTarget) -> str:
    """Return the title of an upload's page."""
    match target:
        case DatasetTarget(is_check=True):
            return f"Check files for {target.name}"
        case DatasetTarget():
            return f"Upload to {target.name}"
        case LoraTarget():
            return f"Upload a LoRA for {target.model}"
        case _:
            assert_never(target)


def target_text(target: DatasetTarget | LoraTarget) -> str:
    """Return a sentence or two on what will happen to the uploaded files."""
    match target:
        case DatasetTarget():
            return " ".join(_dataset_sentences(target))
        case LoraTarget():
            expert = f", {target.expert} expert" if target.expert else ""
            named = f" as {target.name}" if target.name else ""
            return f"Stored{named} for {target.model}{expert}. Runs can start from it."
        case _:
            assert_never(target)


def _dataset_sentences(target: DatasetTarget) -> list[str]:
    done = {
        "new": "These files alone become a new version of the dataset.",
        "add": "The files are added to those of the newest version.",
        "replace": "The files are added to the newest version and replace files of the same name.",
    }
    sentences = ["The files are only checked; nothing is stored."] if target.is_check else []
    sentences = sentences or [done[target.mode]]
    if target.trigger is not None:
        prefixed = ", prefixed to captions that lack it" if target.is_prefixed else ""
        sentences.append(f"Trigger word: {target.trigger}{prefixed}.")
    return sentences


def link_card(target: DatasetTarget | LoraTarget, expires_at: datetime, limits: Limits) -> Card:
    """Return a card that explains an upload link; the link itself is a button below it."""
    what = (
        "one .safetensors file"
        if isinstance(target, LoraTarget)
        else f"a zip, several zips, a folder or single files, up to {limits.files:,} files"
    )
    return Card(
        title=title_text(target),
        description=f"The page takes {what}, {size(limits.archive_bytes)} at most. An interrupted "
        f"upload continues where it stopped. {escape(target_text(target))}",
        colour=Colour.ACTIVE,
        footer="Do not share the link: it works only in the browser that opens it first, until "
        f"{expires_at:%Y-%m-%d %H:%M} UTC.",
    )


def import_card(session: UploadSession) -> Card:
    """Return a card that says what an import fetches. It omits the link, which may be a secret."""
    source = ImportProgress(session=session, status="waiting", received_bytes=0).source
    count = len(source.files)
    what = f"{count:,} files" if count > 1 else source.files[0].path
    return Card(
        title=_importing(session),
        description=f"{escape(what)}, {size(source.size_bytes)}, from {source.host}. "
        f"{escape(target_text(session.target))}",
        colour=Colour.ACTIVE,
        footer="The progress and the result appear in this channel. A lost connection or a restart "
        "of the bot only delays the import.",
    )


def import_progress_card(progress: ImportProgress) -> Card:
    """Return a card with the progress of an import, for the channel it was started in."""
    session = progress.session
    lines = [_transferred(progress), _now(progress), f"Imported by <@{session.by}>"]
    return Card(
        title=_importing(session), description="\n".join(filter(None, lines)), colour=Colour.ACTIVE
    )


def _importing(session: UploadSession) -> str:
    name = session.target.name
    return f"Importing {name}" if name else "Importing"


def _transferred(progress: ImportProgress) -> str:
    total, received = progress.source.size_bytes, progress.received_bytes
    if progress.status == "checking":
        received = total
    return f"{bar(received, total)} · {size(received)} of {size(total)}"


def _now(progress: ImportProgress) -> str:
    source = progress.source
    match progress.status:
        case "waiting":
            return "Waiting for other imports to end."
        case "fetching" if progress.bytes_per_second > 0:
            left = (source.size_bytes - progress.received_bytes) / progress.bytes_per_second
            return f"From {source.host}, {about(left)} left."
        case "fetching":
            return f"From {source.host}."
        case "lost":
            return f"{source.host} cannot be reached. Trying again; what has arrived is kept."
        case "checking":
            done, total = progress.checked
            return f"Checking the files: {done:,} of {total:,}." if total else "Checking the files."


def revoked_card() -> Card:
    text = "The link no longer works, and the files received so far are deleted."
    return Card(title="Stopped", description=text)
