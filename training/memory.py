"""What a training or caching asks of the GPU's memory, and which setting would ask for less."""

from dataclasses import dataclass

from training.dataset.config.buckets import STEP, Resolution, Size
from training.dataset.config.group import GroupPlan
from training.dataset.config.guide_groups import LONG_FRAMES, SHORT_FRAMES, SIZES
from training.suggestions import FewerFrames, LowerResolution, Suggestion, SwapBlocks, UseFp8

# Less than a third off is not worth another start.
_WORTH_IT = 2 / 3
_FEWEST_FRAMES = 9
_SMALLEST: Resolution = "480p"


@dataclass(frozen=True, slots=True)
class Shape:
    """Size and frames of the items of one kind."""

    size: Size
    frames: int

    @property
    def tokens(self) -> int:
        """Return what the transformer sees of such an item; memory grows in proportion."""
        width, height = self.size
        return ((self.frames - 1) // 4 + 1) * (width // STEP) * (height // STEP)


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryUse:
    """The settings that decide how much memory is needed.

    Attributes:
        swapped: Blocks of the model in main memory.
        swappable: The most that can be; 0 where no model of blocks is loaded, as in caching.
        fp8: Whether the base's weights are in 8 bits, or there are none.
    """

    shapes: tuple[Shape, ...]
    swapped: int = 0
    swappable: int = 39
    fp8: bool = True


def shapes_of(groups: GroupPlan) -> tuple[Shape, ...]:
    """Return the shapes of a run's items."""
    found = (Shape((i.bucket_width, i.bucket_height), i.frames) for i in groups.items)
    return tuple(dict.fromkeys(found))


# What a run trains on unless it says otherwise.
_GUIDE = SIZES["720p"]
USUAL_SHAPES = (
    Shape(_GUIDE.images, 1),
    Shape(_GUIDE.short, SHORT_FRAMES),
    Shape(_GUIDE.long, LONG_FRAMES),
)


def lighter(use: MemoryUse) -> Suggestion | None:
    """Return the mildest setting that asks for clearly less memory, None when there is none."""
    return _fewer_frames(use) or _lower_resolution(use) or _more_swapping(use) or _fp8(use)


def _fewer_frames(use: MemoryUse) -> Suggestion | None:
    enough = _peak(use.shapes) * _WORTH_IT
    longest = max((shape.frames for shape in use.shapes), default=1)
    # A latent frame stands for four frames.
    for frames in range((longest - 2) // 4 * 4 + 1, _FEWEST_FRAMES - 1, -4):
        shorter = tuple(Shape(shape.size, min(shape.frames, frames)) for shape in use.shapes)
        if _peak(shorter) <= enough:
            return FewerFrames(max_frames=frames)
    return None


def _lower_resolution(use: MemoryUse) -> Suggestion | None:
    smaller = tuple(Shape(_at_most(shape.size), shape.frames) for shape in use.shapes)
    if _peak(smaller) <= _peak(use.shapes) * _WORTH_IT:
        return LowerResolution(resolution=_SMALLEST)
    return None


def _more_swapping(use: MemoryUse) -> Suggestion | None:
    if use.swapped >= use.swappable:
        return None
    half = (use.swappable + 1) // 2
    return SwapBlocks(blocks=half if use.swapped < half else use.swappable)


def _fp8(use: MemoryUse) -> Suggestion | None:
    return None if use.fp8 else UseFp8()


def _at_most(size: Size) -> Size:
    smallest = SIZES[_SMALLEST].short
    return min(size, smallest, key=lambda size: size[0] * size[1])


def _peak(shapes: tuple[Shape, ...]) -> int:
    return max((shape.tokens for shape in shapes), default=0)
