"""How much of a GPU's memory a group takes; measured on one card, rough elsewhere.

Measured 2026-11-23 on an H100 80GB with torch 2.11: musubi-tuner's 14B model, rank 24, gradient
checkpointing, one sample a step. 16-bit weights: 32 GB at 3,600 tokens, 46 GB at 21,600, 48 GB at
24,480; weights in fp8: 33 GB at 21,600; Wan 2.2, 16 bit: 52 GB at 21,600.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from training.catalogue.gpus import GPUS
from training.catalogue.models import Model
from training.dataset.config.buckets import STEP, Size
from training.dataset.config.group import Group, GroupPlan, tokens
from training.dataset.config.guide_groups import LONG_FRAMES, SHORT_FRAMES, SIZES
from training.errors import RequestError
from training.suggestions import FewerFrames, LowerResolution, Suggestion, SwapBlocks, UseFp8
from training.vocabulary import Resolution

GIB = 2**30  # bytes
_GB = 10**9  # bytes, as the measurements have it
UNMEASURED = "unmeasured, rough"
_MEASURED_CARD, _MEASURED_TOKENS = "H100", 24_480
_LATENT_FRAMES = 4  # frames after the first that the VAE packs into one


@dataclass(frozen=True, slots=True)
class _Size:
    """What a model holds whatever the clip, and what each token adds, in bytes."""

    resident: float
    per_token: float


# 16.2 GB: 33 GB less 21,600 tokens; the slope is that of 16-bit weights, (46 - 32) GB / 18,000.
# Wan 2.2 embeds the time for each token, (52 - 46) GB / 21,600 more.
_WAN21 = _Size(16.2 * _GB, 778_000)
_WAN22 = _Size(16.2 * _GB, 778_000 + 278_000)
# Not measured: 16-bit weights, and the slope by width and depth, 1536 x 66 to 5120 x 76.
_WAN21_1B = _Size(3.8 * _GB, 203_000)


@dataclass(frozen=True, slots=True)
class Need:
    """What the largest step of a group takes on a card."""

    group: Group
    tokens: int
    gib: float
    card: str
    is_measured: bool

    @property
    def card_gib(self) -> float:
        """Return what the card has."""
        return GPUS[self.card].memory_gib

    @property
    def is_too_large(self) -> bool:
        """Return whether the step does not fit."""
        return self.gib > self.card_gib


def needs(model: Model, groups: GroupPlan, card: str) -> tuple[Need, ...]:
    """Return what each group takes on a card, in the order of the plan."""
    return tuple(_need(model, group, card) for group in groups.groups)


def refuse_too_large(model: Model, groups: GroupPlan, card: str, *, is_own_toml: bool) -> None:
    """Refuse groups that do not fit a card, and say what would.

    Raises:
        RequestError: Naming the group, its need, and the frames or the resolution that fit.
    """
    large = [need for need in needs(model, groups, card) if need.is_too_large]
    if not large:
        return
    causes = [
        f"The group {need.group.name} needs about {need.gib:.0f} GiB at "
        f"{_shape(need.group)}, and {GPUS[card].with_article} has "
        f"{need.card_gib:.0f} GiB ({'measured' if need.is_measured else UNMEASURED})."
        for need in large
    ]
    raise RequestError(" ".join(causes), _fix(model, large, card, is_own_toml=is_own_toml))


def _need(model: Model, group: Group, card: str) -> Need:
    count = max(tokens(item) for item in group.items) * group.batch_size
    size = _size(model)
    is_measured = (
        card == _MEASURED_CARD and size is _WAN21 and group.batch_size == 1
    ) and count <= _MEASURED_TOKENS
    needed = (size.resident + size.per_token * count) / GIB
    return Need(group, count, needed, card, is_measured)


def _size(model: Model) -> _Size:
    if "1.3B" in model.task:
        return _WAN21_1B
    return _WAN22 if len(model.experts) > 1 else _WAN21


def _shape(group: Group) -> str:
    largest = max(group.items, key=tokens)
    batch = f" and batch size {group.batch_size}" if group.batch_size > 1 else ""
    return f"{largest.frames} frames of {largest.bucket_width} x {largest.bucket_height}{batch}"


def _fix(model: Model, large: Sequence[Need], card: str, *, is_own_toml: bool) -> str:
    ways: list[str] = []
    at_size = min(_frames(model, need.group, card) for need in large)
    if at_size:
        key = "target_frames or max_frames of at most" if is_own_toml else "max-frames:"
        ways.append(f"{key}{' ' if is_own_toml else ''}{at_size}")
    if smaller := _smaller(model, large, card):
        width, height = SIZES[smaller].long
        ways.append(f"resolution = [{width}, {height}]" if is_own_toml else f"resolution:{smaller}")
    larger = _larger(large)
    if not ways:
        return f"Use {f'{larger}, ' if larger else ''}shorter items or a smaller batch_size."
    return f"What fits: {' or '.join(ways)}{f'; or {larger}' if larger else ''}."


def _larger(large: Sequence[Need]) -> str:
    """Return the smallest card that has room for all, as a way out; empty where none has."""
    most = max(need.gib for need in large)
    found = [gpu for gpu in GPUS.values() if gpu.memory_gib >= most]
    if not found:
        return ""
    return f"a larger GPU, such as {min(found, key=lambda gpu: gpu.memory_gib).with_article}"


def _frames(model: Model, group: Group, card: str, area: int | None = None) -> int:
    """Return the most frames of a group's largest picture that fit a card; 0 where none does."""
    largest = max(group.items, key=tokens)
    pixels = area or largest.bucket_width * largest.bucket_height
    size = _size(model)
    room = (GPUS[card].memory_gib * GIB - size.resident) / (size.per_token * group.batch_size)
    latent_frames = int(room // (pixels // STEP**2))
    return (latent_frames - 1) * _LATENT_FRAMES + 1 if latent_frames > 0 else 0


def _smaller(model: Model, large: Sequence[Need], card: str) -> Resolution | None:
    """Return the smaller resolution if all would fit at it, with the frames they have."""
    width, height = SIZES["480p"].long
    area = width * height
    for need in large:
        largest = max(need.group.items, key=tokens)
        if largest.bucket_width * largest.bucket_height <= area:
            return None
        if _frames(model, need.group, card, area) < largest.frames:
            return None
    return "480p"


# Less than a third off is not worth another start.
_WORTH_IT = 2 / 3
_FEWEST_FRAMES = 9
_SMALLEST: Resolution = "480p"


@dataclass(frozen=True, slots=True)
class TrainingShape:
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

    shapes: tuple[TrainingShape, ...]
    swapped: int = 0
    swappable: int = 39
    fp8: bool = True


def shapes_of(groups: GroupPlan) -> tuple[TrainingShape, ...]:
    """Return the shapes of a run's items."""
    found = (TrainingShape((i.bucket_width, i.bucket_height), i.frames) for i in groups.items)
    return tuple(dict.fromkeys(found))


# What a run trains on unless it says otherwise.
_GUIDE = SIZES["720p"]
USUAL_SHAPES = (
    TrainingShape(_GUIDE.images, 1),
    TrainingShape(_GUIDE.short, SHORT_FRAMES),
    TrainingShape(_GUIDE.long, LONG_FRAMES),
)


def lighter(use: MemoryUse) -> Suggestion | None:
    """Return the mildest setting that asks for clearly less memory, None when there is none."""
    return _fewer_frames(use) or _lower_resolution(use) or _more_swapping(use) or _fp8(use)


def _fewer_frames(use: MemoryUse) -> Suggestion | None:
    enough = _peak(use.shapes) * _WORTH_IT
    longest = max((shape.frames for shape in use.shapes), default=1)
    # A latent frame stands for four frames.
    for frames in range((longest - 2) // 4 * 4 + 1, _FEWEST_FRAMES - 1, -4):
        shorter = tuple(
            TrainingShape(shape.size, min(shape.frames, frames)) for shape in use.shapes
        )
        if _peak(shorter) <= enough:
            return FewerFrames(max_frames=frames)
    return None


def _lower_resolution(use: MemoryUse) -> Suggestion | None:
    smaller = tuple(TrainingShape(_at_most(shape.size), shape.frames) for shape in use.shapes)
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


def _peak(shapes: tuple[TrainingShape, ...]) -> int:
    return max((shape.tokens for shape in shapes), default=0)
