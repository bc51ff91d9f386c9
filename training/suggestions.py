"""Changed settings with which a failed run may succeed; each is one that a button can apply."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from training.vocabulary import Resolution


@dataclass(frozen=True, slots=True, kw_only=True)
class FewerFrames:
    """Train on at most `max_frames` frames of a clip at once."""

    max_frames: int
    kind: Literal["fewer_frames"] = "fewer_frames"


@dataclass(frozen=True, slots=True, kw_only=True)
class LowerResolution:
    """Train on pictures of no more than this resolution's area."""

    resolution: Resolution
    kind: Literal["lower_resolution"] = "lower_resolution"


@dataclass(frozen=True, slots=True, kw_only=True)
class SwapBlocks:
    """Keep `blocks` of the model's blocks in main memory while others are at work."""

    blocks: int
    kind: Literal["swap_blocks"] = "swap_blocks"


@dataclass(frozen=True, slots=True, kw_only=True)
class UseFp8:
    """Keep the base model's weights in 8 bits."""

    kind: Literal["use_fp8"] = "use_fp8"


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheAgain:
    """Make the caches anew instead of using those that are there."""

    kind: Literal["cache_again"] = "cache_again"


Suggestion = Annotated[
    FewerFrames | LowerResolution | SwapBlocks | UseFp8 | CacheAgain, Field(discriminator="kind")
]


def keeps_items(suggestion: Suggestion) -> bool:
    """Return whether the training items stay the same, so that training can go on from a state.

    Fewer frames or smaller pictures are other items, and another number of steps an epoch.
    """
    return not isinstance(suggestion, FewerFrames | LowerResolution)
