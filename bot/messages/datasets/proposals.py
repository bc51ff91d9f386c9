"""Cards about proposed captions."""

from bot.messages.card import Card, Colour, Field
from bot.messages.markdown import escape
from training.captioning.captioner import Captioner
from training.captioning.propose import ProposalsMade, summary_of
from training.captioning.templates import TEMPLATES, LoraKind
from training.registry.datasets import DatasetVersion
from training.wording import count

UNDECIDED = "They are proposals: no caption has changed, and none will until a person accepts it."


def plan_text(captioner: Captioner, *, samples: int, frames: int) -> str:
    """Return what would be captioned, by what, and at which price."""
    price = (
        "The bot does not know the price of this endpoint."
        if captioner.asks_first
        else "It costs nothing."
    )
    many = f"{count(samples, 'sample')} ({count(frames, 'frame')})"
    return f"{captioner.label} would caption {many}. {captioner.remark} {price}"


def asked_card(
    version: DatasetVersion, kind: LoraKind, captioner: Captioner, *, samples: int, frames: int
) -> Card:
    """Return a card that asks whether to start."""
    never = "\n".join(f"- {one}" for one in TEMPLATES[kind].never)
    return Card(
        title=f"Propose captions for {version.ref}?",
        description=escape(plan_text(captioner, samples=samples, frames=frames)),
        colour=Colour.WARNING,
        fields=(Field(f"For a {kind} LoRA, captions leave out", never),),
        footer="Nothing is accepted by itself: a person decides on each proposal.",
    )


def made_card(made: ProposalsMade) -> Card:
    """Return a card with the result."""
    return Card(
        title=f"{made.version.ref}: {count(made.made, 'caption')} proposed",
        description=made_text(made),
        colour=Colour.GOOD if made.made else Colour.WARNING,
    )


def made_text(made: ProposalsMade) -> str:
    """Return where the proposals are, and why some samples have none."""
    lines = [UNDECIDED] if made.made else ["No caption was proposed."]
    lines += [
        f"{count(number, 'sample')} without a proposal: {escape(reason)}."
        for reason, number in summary_of(made.failed)
    ]
    return "\n".join(lines)
