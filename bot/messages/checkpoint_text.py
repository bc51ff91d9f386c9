"""LoRA files to start from, in words: what was stored, what could not be proven, how to use it."""

from collections.abc import Sequence

from bot.messages.card import DESCRIPTION_LIMIT, Card, Colour, Field
from bot.messages.figures import count, size
from bot.messages.markdown import escape, join_lines
from training.catalogue.models import find_model
from training.registry.loras import StoredLora

LARGER_FILES = (
    "The operator adds it on the bot's machine with lorabot checkpoint add; a checkpoint of a run "
    "of this bot needs no upload: resume-from:run-name/high-e20 names it."
)


def checkpoint_card(record: StoredLora) -> Card:
    """Return what was stored, with what its header does not say."""
    lines = [
        f"For {find_model(record.model).family}{_expert(record)}, "
        f"rank {record.rank}, alpha {record.alpha:g}, {record.modules} modules, "
        f"{size(record.size_bytes)}.",
    ]
    if record.engine == "rehearsal":
        lines.append("It is of a rehearsal's tiny model: only rehearsals can start from it.")
    if record.is_converted:
        lines.append(
            "Its names were those of another trainer; they were converted to musubi's, which "
            "changes no weight."
        )
    fields = [Field("To train on from it", f"`{usage(record)}`")]
    if record.unproven:
        fields.insert(0, Field("Taken on your word", "\n".join(_open(record))))
    return Card(
        title=f"Checkpoint {record.name}",
        description="\n".join(lines),
        colour=Colour.WARNING if record.unproven else Colour.GOOD,
        fields=tuple(fields),
        footer="Only trainings that name it start from it.",
    )


def checkpoint_list(records: Sequence[StoredLora], guild: str) -> Card:
    """Return one line for each LoRA file that trainings can start from."""
    larger = (
        "A file above Discord's limit on attachments (10 MiB on most servers): the operator adds "
        f"it with `lorabot checkpoint add FILE --model … --server {guild}`. "
        "A checkpoint of a run needs no upload: `resume-from:run-name/high-e20`."
    )
    if not records:
        return Card(
            title="Checkpoints",
            description="There is no LoRA to start from here yet. Add one with `/checkpoint add`.",
            fields=(Field("Larger files", larger),),
        )
    lines = [
        f"**{record.name}** · {record.model}{_expert(record)} · rank {record.rank} · "
        f"{size(record.size_bytes)} · added {record.added_at:%Y-%m-%d}"
        for record in records
    ]
    return Card(
        title=count(len(records), "checkpoint").capitalize(),
        description=join_lines(lines, DESCRIPTION_LIMIT),
        fields=(Field("Larger files", larger),),
        footer="/train starts from one with its option resume-from.",
    )


def removed_checkpoint_card(record: StoredLora) -> Card:
    """Return that a LoRA file was removed, and what stays."""
    return Card(
        title=f"Removed checkpoint {record.name}",
        description="Runs that started from it keep their own copy.",
    )


def usage(record: StoredLora) -> str:
    """Return the options that start a training from a checkpoint."""
    each = "" if record.expert == "main" else f"{record.expert}="
    expert = "" if record.expert == "main" else f"{record.expert}."
    alpha = f" settings:{expert}alpha={record.alpha:g}" if record.alpha != record.rank else ""
    start = f"resume-from:{each}{record.name}"
    return f"/train model:{record.model} {start} rank:{each}{record.rank}{alpha}"


def _open(record: StoredLora) -> list[str]:
    name = escape(record.file_name)
    chosen = "" if record.expert == "main" else f" You said {record.expert}."
    return [
        f"The header of {name} does not say {question}."
        + (chosen if question.startswith("which expert") else "")
        for question in record.unproven
    ]


def _expert(record: StoredLora) -> str:
    return "" if record.expert == "main" else f", {record.expert} expert"
