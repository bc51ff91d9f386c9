"""`/help`: a first run in three steps, with commands that can be copied."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from bot.messages.card import Card, Colour, Field

HelpStep = Literal["start", "upload", "train", "download"]
LABELS: Mapping[HelpStep, str] = MappingProxyType(
    {
        "start": "Overview",
        "upload": "1. Upload a dataset",
        "train": "2. Train",
        "download": "3. Download",
    }
)
_EXAMPLE = "annika"
_CHEAPEST = "wan21-t2v-1-3b"  # the model that costs the least to try


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """The names that the commands show: this server's newest dataset, and the user's newest run.

    Attributes:
        is_rehearsal: Whether the bot only rehearses, because it has no musubi-tuner.
    """

    dataset: str | None = None
    run: str | None = None
    is_rehearsal: bool = False


def help_card(step: HelpStep, known: Known) -> Card:
    match step:
        case "start":
            return _overview()
        case "upload":
            return _upload()
        case "train":
            return _train(known)
        case "download":
            return _download(known)


def _overview() -> Card:
    return Card(
        title="Your first LoRA in three steps",
        description="Everybody on this server can do this. Press a step to see how.",
        colour=Colour.ACTIVE,
        fields=(
            Field(LABELS["upload"], "A zip of images and clips, each with a caption."),
            Field(
                LABELS["train"],
                "The bot shows the time and the cost, and asks before an expensive run.",
            ),
            Field(LABELS["download"], "The LoRA, and a ComfyUI workflow that loads it."),
        ),
        footer="What you make is yours: only you, members with the team role and members who "
        "manage the server can remove, cancel or resume it.",
    )


def _upload() -> Card:
    caption = "A caption is a text file with the same name: clip1.mp4 and clip1.txt."
    return Card(
        title=LABELS["upload"],
        description=f"Put your images and clips into a zip. {caption}",
        colour=Colour.ACTIVE,
        fields=(
            Field(
                f"`/dataset add name:{_EXAMPLE} trigger:ann1ka zip:`",
                "Attach the zip. The trigger is a made-up word that every caption contains.",
            ),
            Field(
                f"`/dataset upload name:{_EXAMPLE}`",
                "Opens an upload page, for files that are too large for Discord.",
            ),
            Field(
                "What happens then",
                "The bot checks and repairs the files and shows a report. Its buttons fix what is "
                "left, such as missing captions.",
            ),
        ),
    )


def _train(known: Known) -> Card:
    dataset = known.dataset or _EXAMPLE
    cost = "Shows the time and the cost. A run that may be expensive waits until you press Start."
    if known.is_rehearsal:
        cost = "This bot has no GPU: it trains a tiny stand-in model, for free, as a dry run."
    return Card(
        title=LABELS["train"],
        description="Train on the model that you use in ComfyUI; `/models` describes them all. "
        "The cheapest to try:",
        colour=Colour.ACTIVE,
        fields=(
            Field(f"`/train model:{_CHEAPEST} dataset:{dataset}`", cost),
            Field(
                "What happens then",
                "One card in the channel shows the progress and has a Cancel button. You are "
                "pinged once, when the run has ended.",
            ),
        ),
    )


def _download(known: Known) -> Card:
    run = known.run or f"{known.dataset or _EXAMPLE}-{_CHEAPEST}"
    return Card(
        title=LABELS["download"],
        description="A run saves checkpoints while it trains, so you need not wait for its end.",
        colour=Colour.ACTIVE,
        fields=(
            Field(
                f"`/download run-name:{run}`",
                "Links to all checkpoints, and a ComfyUI workflow that loads the newest ones.",
            ),
            Field("`/runs mine:True`", "Lists your runs; `/status` shows one of them."),
        ),
    )
