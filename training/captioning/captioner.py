"""The port of captioners, which propose a caption for an image or a clip."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from PIL import Image

from training.captioning.templates import Template
from training.dataset.report import Kind
from training.errors import TrainingError


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionRequest:
    """What a captioner is told about a sample.

    Attributes:
        frames: An image, or frames of a clip in order, all of the same size.
        seconds: Length of the clip; 0 for an image.
        width: Width of the sample, which may be larger than its frames.
        height: Height of the sample.
        trigger: The trigger word, which the caption must contain; None if there is none.
        template: What to describe, and what never to.
    """

    frames: Sequence[Image.Image]
    kind: Kind
    seconds: float
    width: int
    height: int
    trigger: str | None
    template: Template


class NoCaptionError(Exception):
    """The captioner wrote no usable caption for one sample; the message says why, in a few words.

    Other samples may still get one.
    """


class CaptionerError(TrainingError):
    """The captioner cannot be used now, whatever the sample."""


class Captioner(Protocol):
    """Proposes captions.

    Attributes:
        label: What it is, in words that users may read beside each proposal.
        remark: A sentence that users must know before they use it.
        asks_first: Whether users must confirm first, because it may cost money or sends their
            files elsewhere.
    """

    @property
    def label(self) -> str: ...

    @property
    def remark(self) -> str: ...

    @property
    def asks_first(self) -> bool: ...

    def propose(self, request: CaptionRequest) -> str:
        """Return a proposed caption.

        Raises:
            NoCaptionError: There is none for this sample.
            CaptionerError: There are none for any sample.
        """
        ...
