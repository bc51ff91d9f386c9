"""Cards about uploaded LoRA files, which runs can start from."""

from collections.abc import Sequence

from bot.messages.card import DESCRIPTION_LIMIT, Card, Colour, Field
from bot.messages.damaged import damaged_field
from bot.messages.markdown import escape, join_lines
from bot.messages.options import Spell, in_chat, on_terminal
from bot.messages.trash import trash_field
from training.catalogue.models import find_model
from training.errors import TrainingError
from training.files.sizes import size
from training.registry.loras import StoredLora
from training.registry.trash import Removal
from training.wording import count


def lora_card(record: StoredLora, start: str | None = None) -> Card:
    """Return a card that shows a stored LoRA file, and lists what its header does not say.

    Args:
        record: The stored file.
        start: The command that starts a run from it; the slash command if None.
    """
    lines = [
        f"For {find_model(record.model).family}{_expert(record)}, "
        f"rank {record.rank}, alpha {record.alpha:g}, {record.modules} modules, "
        f"{size(record.size_bytes)}.",
    ]
    if record.engine == "rehearsal":
        lines.append("Trained on the tiny model of rehearsals; only rehearsals can start from it.")
    if record.is_converted:
        lines.append(
            "Its tensors were renamed from another trainer's format to musubi's; the weights are "
            "unchanged."
        )
    fields = [Field("To start from it", start or f"`{usage(record)}`")]
    if record.unproven:
        fields.insert(0, Field("Not verified", "\n".join(_unproven(record))))
    if record.remarks:
        fields.insert(0, Field("Check this", "\n".join(map(escape, record.remarks))))
    return Card(
        title=f"Checkpoint {record.name}",
        description="\n".join(lines),
        colour=Colour.WARNING if record.unproven or record.remarks else Colour.GOOD,
        fields=tuple(fields),
        footer="Only runs that name this file in resume-from use it.",
    )


def lora_list(
    records: Sequence[StoredLora],
    guild: str,
    removals: list[Removal] | None = None,
    damaged: Sequence[TrainingError] = (),
) -> Card:
    """Return a card with the LoRA files that runs can start from, then damaged and removed ones."""
    others = filter(None, [damaged_field(damaged), trash_field(removals or [])])
    larger = (
        "Discord limits attachments (10 MiB on most servers). `/checkpoint upload` gives a link to "
        "a page that takes larger files; the operator can also use "
        f"`lorabot checkpoint add FILE --model … --server {guild}`. "
        "A run's checkpoint needs no upload: use `resume-from:run-name/high-e20`."
    )
    none = "" if damaged else "No LoRA files yet. Add one with `/checkpoint add`."
    lines = [
        f"**{record.name}** · {record.model}{_expert(record)} · rank {record.rank} · "
        f"{size(record.size_bytes)} · added {record.added_at:%Y-%m-%d}"
        for record in records
    ]
    return Card(
        title=count(len(records) + len(damaged), "checkpoint"),
        description=join_lines(lines, DESCRIPTION_LIMIT) or none,
        fields=(*others, Field("Larger files", larger)),
        footer="To start a run from a file, use the option resume-from of /train.",
    )


def usage(record: StoredLora) -> str:
    """Return a `/train` command that starts from a LoRA file."""
    return f"/train model:{record.model} {_start(record, in_chat)}"


def terminal_usage(record: StoredLora) -> str:
    """Return a `lorabot train` command that starts from a LoRA file."""
    return f"lorabot train --model {record.model} --dataset NAME {_start(record, on_terminal)}"


def _start(record: StoredLora, spell: Spell) -> str:
    expert = record.expert if record.expert != "main" else None
    options = [spell("resume_from", record.name, expert), spell("rank", record.rank, expert)]
    if record.alpha != record.rank:
        options.append(spell("alpha", f"{record.alpha:g}", expert))
    return " ".join(options)


def _unproven(record: StoredLora) -> list[str]:
    name = escape(record.file_name)
    chosen = "" if record.expert == "main" else f" You said {record.expert}."
    return [
        f"The header of {name} does not say {question}."
        + (chosen if question.startswith("which expert") else "")
        for question in record.unproven
    ]


def _expert(record: StoredLora) -> str:
    return "" if record.expert == "main" else f", {record.expert} expert"
