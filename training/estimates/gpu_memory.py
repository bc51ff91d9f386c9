"""Estimates the GPU memory of a training step, and suggests settings that need less.

Memory grows with the number of tokens in the largest step. These figures were measured on
2026-11-23 on an H100 80GB, with torch 2.11, musubi-tuner, a 14B model, rank 24, gradient
checkpointing and one sample per step:
- Wan 2.1 with 16-bit weights: 32 GB at 3,600 tokens, 46 GB at 21,600 and 48 GB at 24,480;
- Wan 2.1 with fp8 weights: 33 GB at 21,600 tokens;
- Wan 2.2 with 16-bit weights: 52 GB at 21,600 tokens.

Estimates are for the run's most demanding expert. Without settings, they assume fp8 weights, which
are the default.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Self

from training.catalogue.gpus import GPUS
from training.catalogue.models import Model
from training.dataset.config.buckets import Size
from training.dataset.config.group import Group, GroupPlan, Item, token_count
from training.dataset.config.guide_groups import LONG_FRAMES, SHORT_FRAMES, SIZES
from training.errors import RequestError
from training.files.sizes import GIB
from training.remedies import FewerFrames, LowerResolution, Suggestion, SwapBlocks, UseFp8
from training.runs.hyperparameters import ExpertSettings
from training.vocabulary import Resolution

Settings = Sequence[ExpertSettings]
_GB = 10**9  # bytes; the measurements are in GB
UNMEASURED = "unmeasured, rough"
_MEASURED_GPU, _MEASURED_TOKENS = "H100", 24_480
_LATENT_FRAMES = 4  # the VAE packs 4 frames into one latent frame, except for the first frame
# A suggested setting must save a third of the memory to be worth another run.
_WORTH_IT = 2 / 3
_FEWEST_FRAMES = 9
_SMALLEST: Resolution = "480p"


@dataclass(frozen=True, slots=True)
class _Footprint:
    """GPU memory of a training step: `resident` bytes, plus `per_token` bytes for each token."""

    resident: float
    per_token: float


# Per token: (46 - 32) GB / 18,000 tokens, measured with 16-bit weights. Resident: the 33 GB that
# were measured with fp8 at 21,600 tokens, minus the memory for those tokens. Wan 2.2 embeds the
# timestep for each token, which adds (52 - 46) GB / 21,600 per token.
_WAN21 = _Footprint(16.2 * _GB, 778_000)
_WAN22 = _Footprint(16.2 * _GB, 778_000 + 278_000)
# Not measured. Resident: the weights in 16 bits. Per token: the 14B model's bytes times (1536 x 66)
# / (5120 x 76). This assumes that each block keeps its input (14B: 40 blocks, 1.3B: 30) and that
# the running block takes 36 times as much as its input. The assumption fits the 14B model, whose
# measured 778,000 bytes are 2 bytes x 5120 x 76.
_WAN21_1B = _Footprint(3.8 * _GB, 203_000)
# The memory that fp8 weights save: (46 - 33) GB, measured at 21,600 tokens.
_UNQUANTISED_BYTES = 13 * _GB


@dataclass(frozen=True, slots=True)
class TrainingShape:
    """The size (width and height) and number of frames of a training item."""

    size: Size
    frames: int

    @classmethod
    def of(cls, item: Item) -> Self:
        return cls((item.bucket_width, item.bucket_height), item.frames)

    @property
    def tokens(self) -> int:
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
        return GPUS[self.gpu].memory_gib

    @property
    def is_too_large(self) -> bool:
        return self.gib > self.gpu_gib


def needs(model: Model, groups: GroupPlan, gpu: str, settings: Settings = ()) -> tuple[Need, ...]:
    """Return the memory that each group needs on `gpu`, in the order of the plan."""
    return tuple(_need(model, group, gpu, settings) for group in groups.groups)


def refuse_too_large(
    model: Model,
    groups: GroupPlan,
    gpu: str,
    settings: Settings = (),
    *,
    has_toml: bool,
) -> None:
    """Refuse groups of items whose training steps do not fit the GPU's memory.

    Raises:
        RequestError: A group does not fit. The error names each such group and the memory that it
            needs, and the number of frames or the resolution that would fit.
    """
    large = [need for need in needs(model, groups, gpu, settings) if need.is_too_large]
    if not large:
        return
    causes = [
        f"The group {need.group.name} needs about {need.gib:.0f} GiB "
        f"({'measured' if need.is_measured else UNMEASURED}) at {_described(need.group)}, but "
        f"{GPUS[gpu].with_article} has {need.gpu_gib:.0f} GiB."
        for need in large
    ]
    footprint = _footprint(model, settings)
    raise RequestError(" ".join(causes), _fix(footprint, large, gpu, has_toml=has_toml))


def _need(model: Model, group: Group, gpu: str, settings: Settings) -> Need:
    tokens = _largest(group).tokens * group.batch_size
    footprint = _footprint(model, settings)
    is_measured = (
        gpu == _MEASURED_GPU and _is_wan21_14b(model) and group.batch_size == 1
    ) and tokens <= _MEASURED_TOKENS
    gib = (footprint.resident + footprint.per_token * tokens) / GIB
    return Need(group, tokens, gib, gpu, is_measured)


def _footprint(model: Model, settings: Settings) -> _Footprint:
    if model.size == "1.3B":
        return _WAN21_1B
    embeds_once = bool(settings) and all(one.force_v2_1_time_embedding for one in settings)
    usual = _WAN21 if _is_wan21_14b(model) or embeds_once else _WAN22
    if all(one.fp8 for one in settings):
        return usual
    return replace(usual, resident=usual.resident + _UNQUANTISED_BYTES)


def _is_wan21_14b(model: Model) -> bool:
    return model.size == "14B" and len(model.experts) == 1


def _largest(group: Group) -> TrainingShape:
    return max(map(TrainingShape.of, group.items), key=lambda shape: shape.tokens)


def _described(group: Group) -> str:
    largest = _largest(group)
    width, height = largest.size
    batch = f" and batch size {group.batch_size}" if group.batch_size > 1 else ""
    return f"{largest.frames} frames of {width} x {height}{batch}"


def _fix(footprint: _Footprint, large: Sequence[Need], gpu: str, *, has_toml: bool) -> str:
    ways: list[str] = []
    frames = min(
        _most_frames(footprint, need.group, gpu, _largest(need.group).size) for need in large
    )
    if frames:
        key = "target_frames or max_frames" if has_toml else "max-frames"
        ways.append(f"{key} of at most {frames}")
    if smaller := _smaller(footprint, large, gpu):
        width, height = SIZES[smaller].long
        ways.append(f"resolution = [{width}, {height}]" if has_toml else f"resolution {smaller}")
    larger = _larger_gpu(large)
    if not ways:
        return f"Use shorter items or a smaller batch_size{f', or {larger}' if larger else ''}."
    return f"What fits: {' or '.join(ways)}{f'; or {larger}' if larger else ''}."


def _larger_gpu(large: Sequence[Need]) -> str:
    """Return a phrase that names the smallest GPU with room for all groups; "" if there is none."""
    most = max(need.gib for need in large)
    found = [gpu for gpu in GPUS.values() if gpu.memory_gib >= most]
    if not found:
        return ""
    return f"a larger GPU, such as {min(found, key=lambda gpu: gpu.memory_gib).with_article}"


def _most_frames(footprint: _Footprint, group: Group, gpu: str, size: Size) -> int:
    """Return how many frames of this size fit in the GPU's memory; 0 if not even one does."""
    room_bytes = GPUS[gpu].memory_gib * GIB - footprint.resident
    room_tokens = room_bytes / (footprint.per_token * group.batch_size)
    latent_frames = int(room_tokens // token_count(size, frames=1))
    return (latent_frames - 1) * _LATENT_FRAMES + 1 if latent_frames > 0 else 0


def _smaller(footprint: _Footprint, large: Sequence[Need], gpu: str) -> Resolution | None:
    """Return the smallest resolution if it makes all of `large` fit, with all frames; else None."""
    size = SIZES[_SMALLEST].long
    for need in large:
        largest = _largest(need.group)
        if _area(largest.size) <= _area(size):
            return None
        if _most_frames(footprint, need.group, gpu, size) < largest.frames:
            return None
    return _SMALLEST


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryUse:
    """The settings that decide how much GPU memory a program needs.

    Attributes:
        shapes: The shapes of the items.
        swapped: Blocks of the model that are kept in main memory.
        swappable: The most that `swapped` can be; 0 for caching, which does not load the model.
        fp8: Whether the base model's weights are in 8 bits; True for caching.
    """

    shapes: tuple[TrainingShape, ...]
    swapped: int = 0
    swappable: int = 39
    fp8: bool = True


def shapes_of(groups: GroupPlan) -> tuple[TrainingShape, ...]:
    return tuple(dict.fromkeys(map(TrainingShape.of, groups.items)))


# The shapes that a run trains on by default.
_GUIDE = SIZES["720p"]
USUAL_SHAPES = (
    TrainingShape(_GUIDE.images, 1),
    TrainingShape(_GUIDE.short, SHORT_FRAMES),
    TrainingShape(_GUIDE.long, LONG_FRAMES),
)


def lighter(use: MemoryUse) -> Suggestion | None:
    """Return the mildest change of settings that saves enough memory; None if there is none."""
    return (
        _fewer_frames(use)
        or _lower_resolution(use)
        or _more_swapping(use)
        or (None if use.fp8 else UseFp8())
    )


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


def _area(size: Size) -> int:
    return size[0] * size[1]


def _peak(shapes: Iterable[TrainingShape]) -> int:
    return max((shape.tokens for shape in shapes), default=0)
