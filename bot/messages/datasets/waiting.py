"""Cards about uploads that wait for captions, or for a decision about bad files."""

from collections.abc import Sequence

from bot.messages.card import Card, Colour, Field
from bot.messages.datasets.cards import finding_fields
from bot.messages.datasets.report import contents
from bot.messages.markdown import escape
from training.dataset.report import Report
from training.registry.checked_uploads import KEPT_HOURS
from training.wording import count


def bad_files_card(name: str, report: Report, trigger: str | None) -> Card:
    """Return a card that says how many files cannot be used and what the user can do."""
    bad = set(report.bad_files)
    good = [sample for sample in report.samples if sample.source not in bad]
    bare = sum(sample in good for sample in report.without_caption)
    rest = f"store the {count(len(good), 'other sample')}"
    if bare:
        have = "has" if bare == 1 else "have"
        rest = f"go on with the {count(len(good), 'other sample')}; {bare} {have} no usable caption"
    ways = [f"**Leave bad files out**: {rest}", "Or fix these files and send them again"]
    cannot = f"{len(bad)} of {count(len(good) + len(bad), 'file')} cannot be used."
    title = f"{name}: {count(len(bad), 'file')} cannot be used"
    return _kept_card(title, cannot, ways, name=name, report=report, trigger=trigger)


def waiting_card(name: str, report: Report, trigger: str | None) -> Card:
    """Return a card that says how many captions are missing and what the user can do."""
    missing, total = len(report.without_caption), len(report.samples)
    ways = [
        "**Captions**: write them on a page beside each image and clip, or get a spreadsheet and "
        f"send it with `/dataset captions name:{name} file:`",
        f"`/dataset caption name:{name}`: have captions proposed, and decide on each",
        "**Trigger word only**: use the trigger word as the whole caption of these samples; "
        "the button first explains the effect",
    ]
    if missing < total:
        others = count(total - missing, "other sample")
        ways.insert(1, f"**Leave these out**: store the {others}")
    have = "has" if missing == 1 else "have"
    lacking = f"{missing} of {count(total, 'sample')} {have} no usable caption."
    title = f"{name}: {count(missing, 'caption')} to write"
    return _kept_card(title, lacking, ways, name=name, report=report, trigger=trigger)


def _kept_card(
    title: str,
    trouble: str,
    ways: Sequence[str],
    *,
    name: str,
    report: Report,
    trigger: str | None,
) -> Card:
    lines = [
        f"{trouble} Nothing is lost: the upload is kept for {KEPT_HOURS} hours. It is not stored "
        f"as **{name}** yet."
    ]
    if trigger is not None:
        lines.append(f"Trigger word: **{escape(trigger)}**.")
    return Card(
        title=title,
        description="\n".join(lines),
        colour=Colour.WARNING,
        fields=(
            Field("Contents", contents(report)),
            *finding_fields(report),
            Field("What you can do", "\n".join(f"- {way}" for way in ways)),
        ),
        footer="Details are in the attached report.",
    )


def trigger_only_card(name: str, trigger: str | None, missing: int) -> Card:
    """Return a card that explains what a LoRA learns from the trigger word alone."""
    teaches = (
        "Without a description, the LoRA cannot tell the subject from the rest: the clothes, place "
        "and light in these files come back whenever the trigger word is used. The "
        "trigger word alone works only for one person or object shown in many different settings."
    )
    if trigger is None:
        ask = (
            "There is no trigger word yet. Set one with "
            f"`/dataset captions name:{name} trigger:`, then press the button on the new card."
        )
        return Card(title="Trigger word only", description=f"{teaches}\n\n{ask}")
    captions = "The caption" if missing == 1 else f"All {missing} missing captions"
    ask = f"{captions} will be **{escape(trigger)}** and nothing else."
    return Card(
        title=f"Use only {escape(trigger)} as caption?",
        description=f"{ask} {teaches}",
        colour=Colour.WARNING,
    )
