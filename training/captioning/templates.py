"""What a caption should describe, and what never, for each kind of LoRA."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal, get_args

LoraKind = Literal["character", "style", "motion"]
LORA_KINDS: tuple[LoraKind, ...] = get_args(LoraKind)
LONGEST_WORDS = 90  # of a proposed caption; Wan reads about 350 words


@dataclass(frozen=True, slots=True)
class Template:
    """What captions for one kind of LoRA describe, and what they never do.

    The trigger word stands for what is in `never`, so the LoRA learns it from the pictures.
    """

    kind: LoraKind
    describe: tuple[str, ...]
    never: tuple[str, ...]


def _read() -> Mapping[LoraKind, Template]:
    data = json.loads(Path(__file__).with_suffix(".json").read_text("utf-8"))
    return MappingProxyType(
        {
            kind: Template(kind, tuple(data[kind]["describe"]), tuple(data[kind]["never"]))
            for kind in LORA_KINDS
        }
    )


TEMPLATES = _read()


def instructions(template: Template, *, trigger: str | None, seconds: float) -> str:
    """Return the instructions for a vision-language model; `seconds` is 0 for an image."""
    what = f"a clip of {seconds:.1f} seconds, of which you see frames in order" if seconds else (
        "an image"
    )  # fmt: skip
    lines = [
        f"Write one caption for {what}. It will train a {template.kind} LoRA of a video model.",
        "Describe only what is visible:",
        *(f"- {one}" for one in template.describe),
        "Never describe:",
        *(f"- {one}" for one in template.never),
    ]
    if trigger:
        lines.append(
            f'Call the subject, style or movement only "{trigger}", written exactly like this, '
            f'and begin the caption with "{trigger}".'
        )
    lines.append(
        f"Write one paragraph of plain English, at most {LONGEST_WORDS} words, in the present "
        "tense. Answer with the caption alone: no title, no quotation marks, no remarks, nothing "
        "about images, frames or these instructions."
    )
    return "\n".join(lines)
