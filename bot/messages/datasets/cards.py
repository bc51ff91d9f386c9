"""Cards about datasets: contents, training items, findings, lists."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from bot.messages.card import DESCRIPTION_LIMIT, VALUE_LIMIT, Card, Colour, Field
from bot.messages.damaged import damaged_field
from bot.messages.datasets.report import contents, media_counts
from bot.messages.figures import and_list, bar, single_frames_share
from bot.messages.markdown import cut, escape, join_lines, one_line
from bot.messages.options import in_chat
from bot.messages.trash import trash_field
from training.catalogue.models import MODELS
from training.dataset.config.group import Group, GroupPlan
from training.dataset.report import Finding, Report, Severity
from training.errors import TrainingError
from training.estimates.steps_per_model import predicted_single_frames, suited
from training.files.sizes import size
from training.registry.checked_uploads import KEPT_HOURS
from training.registry.datasets import DatasetVersion
from training.registry.trash import Removal
from training.wording import count, listed

PROGRESS = "Checking files"
PROPOSING = "Proposing captions"
_SHOWN_FINDINGS = 5
_SHOWN_SIZES = 3
_FINDING_LIMIT = 480
_ALL_FINDINGS_LIMIT = 1800
_SEVERITIES: dict[Severity, str] = {
    "error": "Must be fixed",
    "warning": "Worth a look",
    "info": "Good to know",
}
_COLOURS: dict[Severity, Colour] = {
    "error": Colour.BAD,
    "warning": Colour.WARNING,
    "info": Colour.GOOD,
}


def dataset_card(
    version: DatasetVersion,
    report: Report,
    groups: GroupPlan | None = None,
    *,
    same_as: str | None = None,
    others: Sequence[int] = (),
    is_known: bool = False,
) -> Card:
    """Return a card that shows what a version of a dataset contains.

    Args:
        version: The version.
        report: The findings about it.
        groups: The training items of an epoch, if they are known.
        same_as: Another version with the same content; None if there is none.
        others: The numbers of the dataset's other versions.
        is_known: Whether this content was already stored before the upload.
    """
    return Card(
        title=str(version.ref),
        description=_description(version, same_as, others, is_known=is_known),
        colour=_colour(report),
        fields=_fields(report, groups),
        footer=f"Added {version.added_at:%Y-%m-%d}. Details are in the attached report.",
    )


def _fields(report: Report, groups: GroupPlan | None) -> tuple[Field, ...]:
    fields = [Field("Contents", contents(report))]
    if groups is not None:
        fields += _group_fields(groups)
    return (
        *fields,
        Field("Suits", _suits(report)),
        *_single_frames(report),
        *finding_fields(report),
    )


def _single_frames(report: Report) -> list[Field]:
    found = predicted_single_frames(report).values() if report.is_usable else ()
    if not found:
        return []
    most = max(found, key=lambda frames: frames.time_share)
    text = (
        f"{single_frames_share(most)} Train with `{in_chat('items', 'clips')}` to leave them out."
    )
    return [Field("Single frames, image to video", text)]


def _colour(report: Report) -> Colour:
    """Return the colour of the most severe finding."""
    return _COLOURS[report.findings[0].severity if report.findings else "info"]


def dataset_list(
    versions: Sequence[DatasetVersion],
    removals: list[Removal] | None = None,
    damaged: Sequence[TrainingError] = (),
) -> Card:
    """Return a card with the newest version of every dataset, then damaged and removed ones."""
    others = tuple(filter(None, [damaged_field(damaged), trash_field(removals or [])]))
    if not versions and not damaged:
        return Card(
            title="Datasets",
            description="No datasets yet. Add one with `/dataset add` and a zip.",
            fields=others,
        )
    lines = [
        f"**{version.ref}** · {media_counts(version.images, version.clips)} · "
        f"added {version.added_at:%Y-%m-%d}{lacking_text(version, ' · ')}"
        for version in versions
    ]
    return Card(
        title=count(len(versions) + len(damaged), "dataset").capitalize(),
        description=join_lines(lines, DESCRIPTION_LIMIT),
        fields=others,
        footer="A name alone means the newest version; name@1 means the first.",
    )


def lacking_text(version: DatasetVersion, before: str = "") -> str:
    """Return how many samples lack a caption, after `before`; "" if none does."""
    missing = version.without_caption
    if not missing:
        return ""
    lack = "lacks" if missing == 1 else "lack"
    total = count(version.images + version.clips, "sample")
    return f"{before}{missing} of {total} {lack} a caption: not trainable yet"


def _group_fields(groups: GroupPlan) -> list[Field]:
    lines = [_group(group) for group in groups.groups]
    items, steps = len(groups.items), groups.steps_per_epoch
    each = "one step each per epoch" if items == steps else f"{count(steps, 'step')} per epoch"
    lines.append(f"{count(items, 'item')} in total, {each}.")
    fields = [Field("One epoch trains on", join_lines(lines, VALUE_LIMIT))]
    if groups.left_out:
        left_out = [f"- {escape(sentence)}" for sentence in groups.left_out]
        fields.append(Field("Left out", join_lines(left_out, VALUE_LIMIT)))
    return fields


def _description(
    version: DatasetVersion, same_as: str | None, others: Sequence[int], *, is_known: bool
) -> str:
    lines = [f"Version {version.number} of **{version.name}**, {escape(version.change)}."]
    if is_known:
        lines = [f"Already stored as **{version.ref}**; nothing new was stored."]
    elif others:
        numbers = and_list([str(number) for number in others])
        are_many = f"Versions {numbers} stay until you remove them."
        lines.append(
            are_many if len(others) > 1 else f"Version {numbers} stays until you remove it."
        )
    if same_as is not None and not is_known:
        lines.append(f"Same content as **{same_as}**; both versions use the same caches.")
    if version.trigger is not None:
        lines.append(f"Trigger word: **{escape(version.trigger)}**.")
    if lacking := lacking_text(version):
        lines.append(f"{lacking}.")
    if accepted := version.accepted_captions:
        are = (
            "caption is an accepted proposal"
            if accepted == 1
            else "captions are accepted proposals"
        )
        lines.append(f"{accepted} {are}.")
    if version.media == "original":
        lines.append("Runs train on the images and clips as uploaded, not on repaired copies.")
    return "\n".join(lines)


def _group(group: Group) -> str:
    sizes = list(dict.fromkeys(f"{width}x{height}" for width, height, _ in group.buckets))
    frames = sorted({frames for _, _, frames in group.buckets})
    length = ""
    if group.extract is not None:
        unit = "frame" if frames == [1] else "frames"
        length = f", {and_list([str(n) for n in frames])} {unit}"
    items = count(len(group.items), "item")
    return f"**{group.name}**: {items} ({listed(sizes, _SHOWN_SIZES)}{length})"


def _suits(report: Report) -> str:
    reasons = suited(report)
    against = [reason for reason in reasons.values() if reason is not None]
    good = [model for model in MODELS if reasons[model.name] is None]
    if len(good) == len(MODELS):
        return "every model"
    if not good:
        return f"no model: {escape(against[0])}"
    names = ", ".join(model.name for model in good)
    return f"{names}\nThe dataset does not suit the other models: {escape(against[0])}"


def finding_fields(report: Report) -> list[Field]:
    """Return fields with the most severe findings and the number of the others."""
    shown = report.findings[:_SHOWN_FINDINGS]
    fields: list[Field] = []
    room = _ALL_FINDINGS_LIMIT
    for severity, title in _SEVERITIES.items():
        texts = [finding_text(finding) for finding in shown if finding.severity == severity]
        if texts and room > _FINDING_LIMIT:
            value = join_lines(texts, min(VALUE_LIMIT, room), "- and {} more in the report")
            fields.append(Field(title, value))
            room -= len(value)
    if hidden := len(report.findings) - len(shown):
        fields.append(Field("And", f"{count(hidden, 'more finding')} in the attached report"))
    return fields


def finding_text(finding: Finding) -> str:
    """Return the cause and fix of a finding, as an item of a list."""
    cause = cut(escape(one_line(finding.cause)), _FINDING_LIMIT * 2 // 3)
    return f"- {cause} *{cut(escape(one_line(finding.fix)), _FINDING_LIMIT // 3)}*"


def checked_card(
    name: str, report: Report, groups: GroupPlan, *, trigger: str | None, stored: str | None
) -> Card:
    """Return a card with the findings of a check; `stored` is None for an upload."""
    if stored is None and not report.is_usable:
        lines = [
            "The files cannot be used as they are arranged. Nothing was stored. Press the button "
            f"within {KEPT_HOURS} hours to read the upload {_as_found(report)}."
        ]
    elif stored is None:
        lines = [
            "The files were only checked; nothing was stored. To store them as "
            f"**{name}**, use the buttons below within {KEPT_HOURS} hours."
        ]
    else:
        lines = [f"Checked **{stored}** again with the current rules. Nothing was stored."]
    if trigger is not None:
        lines.append(f"Trigger word: **{escape(trigger)}**.")
    return Card(
        title=f"{stored or name}: checked",
        description="\n".join(lines),
        colour=_colour(report),
        fields=_fields(report, groups),
        footer="Details are in the attached report.",
    )


def _as_found(report: Report) -> str:
    names = report.layout.names if report.layout is not None else ()
    return escape(f"as {and_list(names)}")


def progress_text(what: str, done: int, total: int) -> str:
    """Return progress as a bar and the number of files that are done."""
    return f"{what}: {bar(done, total)}, {done:,} of {count(total, 'file')}"


def captions_card(version: DatasetVersion) -> Card:
    """Return a card that explains how to edit the attached caption table."""
    title = f"Captions of {version.ref}"
    return _table_card(title, str(version.ref), "edit", "that creates a new version")


def waiting_table_card(name: str) -> Card:
    """Return a card that explains how to fill in the captions that an upload lacks."""
    then = "the dataset is stored once no caption is missing"
    return _table_card(f"Captions to write for {name}", name, "fill in", then)


def page_card(card: Card, expires_at: datetime) -> Card:
    """Return a card on captions that begins with the page on which they can be written."""
    page = (
        "**Open caption page** shows each image or clip beside its caption. "
        "You can save as often as you like; each time becomes a new version."
    )
    footer = (
        "Do not share the link: it works only in the browser that opens it first, until "
        f"{expires_at:%Y-%m-%d %H:%M} UTC."
    )
    return replace(card, description=f"{page}\n\n{card.description}", footer=footer)


def with_sentence(card: Card, sentence: str) -> Card:
    """Return a card with a sentence added to its description."""
    return replace(card, description=f"{card.description}\n\n{sentence}")


LARGE_TABLE = (
    "Edit the captions in your own files and add the zip again as a new version. Or ask the bot's "
    "operator to edit them as a table, with lorabot captions --out FILE and --file FILE."
)


def large_table_card(name: str, size_bytes: int, *, is_sent: bool) -> Card:
    """Return a card that explains what to do with a table that is too large for chat."""
    limit = "so it is zipped and" if is_sent else "which Discord does not accept, so it"
    return Card(
        title=f"Captions of {name}",
        description=f"The table is {size(size_bytes)}, {limit} cannot be sent back in chat. "
        f"{LARGE_TABLE}",
        colour=Colour.WARNING,
    )


def _table_card(title: str, name: str, act: str, then: str) -> Card:
    """Return a card that says how to edit and send back the caption table of `name`.

    `act` is what the user does with the column *caption*; `then` is what happens once the table
    is sent.
    """
    return Card(
        title=title,
        description=f"Open the table in Excel, Google Sheets or a text editor, {act} the column "
        "*caption* and save it as CSV. Send it with "
        f"`/dataset captions name:{name} file:`; {then}. "
        "Do not change the column *file* or the number of rows.",
    )
