"""Texts about removed items: how long they can be restored, and what was restored."""

from bot.messages.card import VALUE_LIMIT, Card, Colour, Field
from bot.messages.figures import and_list
from bot.messages.markdown import escape, join_lines
from bot.messages.remedies import chat_command
from training.files.sizes import size
from training.operations.trash.restoring import Restorable
from training.operations.trash.run_removal import RemovedRun
from training.registry.loras import name_of
from training.registry.trash import TRASH_DAYS, Removal, day
from training.remedies import Restore
from training.store_keys import TrashKind
from training.wording import count

_AFTERWARDS: dict[TrashKind, str] = {
    "datasets": "Runs trained on it keep their checkpoints.",
    "checkpoints": "Runs that started from it keep their own copy.",
    "runs": "Its links no longer work.",
}


def removed_name(removal: Removal) -> str:
    """Return the name that users type to undo a removal."""
    first = name_of(removal.items[0])
    return first if len(removal.items) == 1 else first.partition("@")[0]


def removed_card(removal: Removal) -> Card:
    """Return a card that says what was removed and until when Undo can bring it back."""
    name = removed_name(removal)
    if len(removal.items) > 1:
        title = f"Removed {name}, {count(len(removal.items), 'version')}"
        lines = [join_lines([f"**{item}**" for item in removal.items], VALUE_LIMIT)]
    else:
        title = f"Removed {'checkpoint ' if removal.kind == 'checkpoints' else ''}{name}"
        lines = []
    lines += [_AFTERWARDS[removal.kind], way_back(removal)]
    return Card(title=title, description="\n".join(lines))


def removed_run_card(removed: RemovedRun) -> Card:
    """Return a card that says what was removed with a run and until when Undo can bring it back."""
    card = removed_card(removed.removal)
    went = (
        f"Removed with the run: {count(removed.checkpoints, 'checkpoint')} and everything else it "
        f"saved, {size(removed.size_bytes)} in all. Links to the checkpoints no longer work."
    )
    return Card(title=card.title, description=f"{went}\n{way_back(removed.removal)}")


def way_back(removal: Removal) -> str:
    """Return a sentence that says how a removal can be undone in chat, and until when."""
    command = chat_command(Restore(what=removal.kind, name=removed_name(removal)))
    return f"Until {day(removal.until)}, Undo or `{command}` brings it back."


def restored_text(restored: Restorable) -> str:
    """Return a sentence that names what was restored."""
    names = list(restored.names)
    return f"{and_list(names)} {'is' if len(names) == 1 else 'are'} back."


def restored_card(restored: Restorable) -> Card:
    return Card(title="Restored", description=escape(restored_text(restored)), colour=Colour.GOOD)


def trash_field(removals: list[Removal]) -> Field | None:
    """Return a field that lists the removals that can be restored; None if there are none."""
    if not removals:
        return None
    lines = [f"{removed_name(one)}, until {day(one.until)}" for one in removals]
    command = chat_command(Restore(what=removals[0].kind, name="…"))
    name = f"Removed in the last {TRASH_DAYS} days: `{command}`"
    return Field(name, join_lines(lines, VALUE_LIMIT))


def removal_label(removal: Removal) -> str:
    """Return the text that autocompletion shows for a removal."""
    return f"{removed_name(removal)} (removed {day(removal.at)}, until {day(removal.until)})"
