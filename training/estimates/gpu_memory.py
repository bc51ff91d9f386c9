"""GPU memory of a training step: what it needs, whether it fits, and which setting needs less.

Memory grows with the tokens of the largest step. Measured 2026-11-23 on an H100 80GB with
torch 2.11 and musubi-tuner: a 14B model, rank 24, gradient checkpointing, one sample per step.
16-bit weights: 32 GB at 3,600 tokens, 46 GB at 21,600, 48 GB at 24,480; fp8 weights: 33 GB at
21,600; Wan 2.2, 16 bit: 52 GB at 21,600.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from training.catalogue.gpus import GPUS
from training.catalogue.models import Model
from training.dataset.config.buckets import Size
from training.dataset.config.group import Group, GroupPlan, token_count
from training.dataset.config.guide_groups import LONG_FRAMES, SHORT_FRAMES, SIZES
from training.errors import RequestError
from training.remedies import FewerFrames, LowerResolution, Suggestion, SwapBlocks, UseFp8
from training.vocabulary import Resolution

GIB = 2**30  # bytes
_GB = 10**9  # bytes; the measurements are in GB
UNMEASURED = "unmeasured, rough"
_MEASURED_GPU, _MEASURED_TOKENS = "H100", 24_480
_LATENT_FRAMES = 4  # frames after the first that the VAE packs into one latent frame
# A suggestion must save a third to be worth another run.
_WORTH_IT = 2 / 3
_FEWEST_FRAMES = 9
_SMALLEST: Resolution = "480p"


@dataclass(frozen=True, slots=True)
class _Footprint:
    """Bytes that a model takes whatever the clip, and bytes that each token adds."""

    resident: float
    per_token: float


# 16.2 GB: 33 GB less 21,600 tokens. The slope is that of 16-bit weights, (46 - 32) GB / 18,000.
# Wan 2.2 embeds the time for each token: (52 - 46) GB / 21,600 more.
_WAN21 = _Footprint(16.2 * _GB, 778_000)
_WAN22 = _Footprint(16.2 * _GB, 778_000 + 278_000)
# Not measured: 16-bit weights, and the slope scaled by width and depth, 1536 x 66 to 5120 x 76.
_WAN21_1B = _Footprint(3.8 * _GB, 203_000)


@dataclass(frozen=True, slots=True)
class TrainingShape:
    """Width and height, and frames, of a training item."""

    size: Size
    frames: int

    @property
    def tokens(self) -> int:
        """Tokens that the transformer sees."""
        return token_count(self.size, self.frames)


@dataclass(frozen=True, slots=True)
class Need:
    """GPU memory that the largest step of a group needs."""

    group: Group
    tokens: int
    gib: float
    gpu: str
    is_measured: bool

    @property
    def gpu_gib(self) -> float:
        """Memory of the GPU in GiB."""
        return GPUS[self.gpu].memory_gib

    @property
    def is_too_large(self) -> bool:
        """Whether the step does not fit."""
        return self.gib > self.gpu_gib


def needs(model: Model, groups: GroupPlan, gpu: str) -> tuple[Need, ...]:
    """Return the memory that each group needs on `gpu`, in the order of the plan."""
    return tuple(_need(model, group, gpu) for group in groups.groups)


def refuse_too_large(model: Model, groups: GroupPlan, gpu: str, *, is_own_toml: bool) -> None:
    """Refuse groups that do not fit the GPU.

    Raises:
        RequestError: Names each group, the memory it needs, and the frames or resolution that fit.
    """
    large = [need for need in needs(model, groups, gpu) if need.is_too_large]
    if not large:
        return
    causes = [
        f"The group {need.group.name} needs about {need.gib:.0f} GiB at "
        f"{_described(need.group)}, and {GPUS[gpu].with_article} has "
        f"{need.gpu_gib:.0f} GiB ({'measured' if need.is_measured else UNMEASURED})."
        for need in large
    ]
    raise RequestError(" ".join(causes), _fix(model, large, gpu, is_own_toml=is_own_toml))


def _need(model: Model, group: Group, gpu: str) -> Need:
    tokens = _largest(group).tokens * group.batch_size
    footprint = _footprint(model)
    is_measured = (
        gpu == _MEASURED_GPU and footprint is _WAN21 and group.batch_size == 1
    ) and tokens <= _MEASURED_TOKENS
    gib = (footprint.resident + footprint.per_token * tokens) / GIB
    return Need(group, tokens, gib, gpu, is_measured)


def _footprint(model: Model) -> _Footprint:
    if model.size == "1.3B":
        return _WAN21_1B
    return _WAN22 if len(model.experts) > 1 else _WAN21


def _largest(group: Group) -> TrainingShape:
    return max((_shape(*item.bucket) for item in group.items), key=lambda shape: shape.tokens)


def _shape(width: int, height: int, frames: int) -> TrainingShape:
    return TrainingShape((width, height), frames)


def _described(group: Group) -> str:
    largest = _largest(group)
    width, height = largest.size
    batch = f" and batch size {group.batch_size}" if group.batch_size > 1 else ""
    return f"{largest.frames} frames of {width} x {height}{batch}"


def _fix(model: Model, large: Sequence[Need], gpu: str, *, is_own_toml: bool) -> str:
    ways: list[str] = []
    frames = min(_most_frames(model, need.group, gpu, _largest(need.group).size) for need in large)
    if frames:
        key = "target_frames or max_frames of at most" if is_own_toml else "max-frames:"
        ways.append(f"{key}{' ' if is_own_toml else ''}{frames}")
    if smaller := _smaller(model, large, gpu):
        width, height = SIZES[smaller].long
        ways.append(f"resolution = [{width}, {height}]" if is_own_toml else f"resolution:{smaller}")
    larger = _larger_gpu(large)
    if not ways:
        return f"Use {f'{larger}, ' if larger else ''}shorter items or a smaller batch_size."
    return f"What fits: {' or '.join(ways)}{f'; or {larger}' if larger else ''}."


def _larger_gpu(large: Sequence[Need]) -> str:
    """Name the smallest GPU that fits all; empty if none does."""
    most = max(need.gib for need in large)
    found = [gpu for gpu in GPUS.values() if gpu.memory_gib >= most]
    if not found:
        return ""
    return f"a larger GPU, such as {min(found, key=lambda gpu: gpu.memory_gib).with_article}"


def _most_frames(model: Model, group: Group, gpu: str, size: Size) -> int:
    """Return the most frames of this size that fit the GPU; 0 if not even one does."""
    footprint = _footprint(model)
    room_bytes = GPUS[gpu].memory_gib * GIB - footprint.resident
    room_tokens = room_bytes / (footprint.per_token * group.batch_size)
    latent_frames = int(room_tokens // token_count(size, frames=1))
    return (latent_frames - 1) * _LATENT_FRAMES + 1 if latent_frames > 0 else 0


def _smaller(model: Model, large: Sequence[Need], gpu: str) -> Resolution | None:
    """Return the smallest resolution if every group would fit at it with the frames it has."""
    size = SIZES[_SMALLEST].long
    for need in large:
        largest = _largest(need.group)
        if _area(largest.size) <= _area(size):
            return None
        if _most_frames(model, need.group, gpu, size) < largest.frames:
            return None
    return _SMALLEST


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryUse:
    """The settings that decide how much memory is needed.

    Attributes:
        swapped: Blocks of the model in main memory.
        swappable: The most blocks that can be swapped; 0 where no model is loaded, as in caching.
        fp8: Whether the base's weights are in 8 bits, or there are none.
    """

    shapes: tuple[TrainingShape, ...]
    swapped: int = 0
    swappable: int = 39
    fp8: bool = True


def shapes_of(groups: GroupPlan) -> tuple[TrainingShape, ...]:
    """Return the distinct shapes of a run's items."""
    return tuple(dict.fromkeys(_shape(*item.bucket) for item in groups.items))


# What a run trains on by default.
_GUIDE = SIZES["720p"]
USUAL_SHAPES = (
    TrainingShape(_GUIDE.images, 1),
    TrainingShape(_GUIDE.short, SHORT_FRAMES),
    TrainingShape(_GUIDE.long, LONG_FRAMES),
)


def lighter(use: MemoryUse) -> Suggestion | None:
    """Return the mildest change that needs clearly less memory, None if there is none."""
    return _fewer_frames(use) or _lower_resolution(use) or _more_swapping(use) or _fp8(use)


def _fewer_frames(use: MemoryUse) -> Suggestion | None:
    enough = _peak(use.shapes) * _WORTH_IT
    longest = max((shape.frames for shape in use.shapes), default=1)
    for frames in range(
        (longest - 2) // _LATENT_FRAMES * _LATENT_FRAMES + 1, _FEWEST_FRAMES - 1, -_LATENT_FRAMES
    ):
        if _peak(replace(s, frames=min(s.frames, frames)) for s in use.shapes) <= enough:
            return FewerFrames(max_frames=frames)
    return None


def _lower_resolution(use: MemoryUse) -> Suggestion | None:
    smallest = SIZES[_SMALLEST].short
    smaller = (replace(s, size=min(s.size, smallest, key=_area)) for s in use.shapes)
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


def _area(size: Size) -> int:
    return size[0] * size[1]


def _peak(shapes: Iterable[TrainingShape]) -> int:
    return max((shape.tokens for shape in shapes), default=0)
