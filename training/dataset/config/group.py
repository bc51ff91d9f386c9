"""Training groups. A group is a `[[datasets]]` table of the trainer's TOML, with its items."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from training.dataset.config.buckets import STEP, Size, bucket_of
from training.dataset.config.frame_windows import FPS, Extract, Extraction, windows
from training.dataset.report import Sample
from training.wording import listed

Bucket = tuple[int, int, int]  # width, height, frames
StepSize = tuple[int, int]  # the samples of a step, and the tokens of each


@dataclass(frozen=True, slots=True)
class Item:
    """One training item: an image, or some frames of a clip.

    Attributes:
        frames: The number of frames; 1 for an image.
        start: The index of its first frame in the clip, at 16 fps.
    """

    sample_name: str
    frames: int
    bucket_width: int
    bucket_height: int
    start: int = 0

    @property
    def bucket(self) -> Bucket:
        return self.bucket_width, self.bucket_height, self.frames


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """One `[[datasets]]` table of the trainer's TOML.

    Attributes:
        name: Unique within a plan; the cache directory has this name too.
        folder: The folder of the repaired dataset that holds its images or clips.
        resolution: Width and height; with buckets, only the area matters.
        extract: Frames to take from a clip; None for images.
        source_fps: Frame rate of the stored clips.
        num_repeats: How many times an epoch trains on each item.
        items: The group's items, each listed once whatever `num_repeats` is.
    """

    name: str
    folder: str
    resolution: Size
    extract: Extract | None = None
    source_fps: float = float(FPS)
    batch_size: int = 1
    num_repeats: int = 1
    enable_bucket: bool = True
    bucket_no_upscale: bool = True
    items: tuple[Item, ...] = ()

    @property
    def frame_extraction(self) -> Extraction | None:
        return self.extract.mode if self.extract else None

    @property
    def target_frames(self) -> tuple[int, ...]:
        """The lengths of the items in frames; for "full", the greatest length; () for images."""
        if self.extract is None:
            return ()
        if self.extract.mode == "full":
            return (self.extract.max_frames,)
        return self.extract.target_frames

    @property
    def buckets(self) -> dict[Bucket, int]:
        return dict(sorted(Counter(item.bucket for item in self.items).items()))

    @property
    def batches(self) -> int:
        """Optimizer steps per epoch; the last batch of a bucket may be short."""
        return sum(
            math.ceil(count * self.num_repeats / self.batch_size) for count in self.buckets.values()
        )

    @property
    def step_sizes(self) -> Counter[StepSize]:
        """How many steps of each size an epoch has."""
        found: Counter[StepSize] = Counter()
        for (width, height, frames), count in self.buckets.items():
            tokens = token_count((width, height), frames)
            full, rest = divmod(count * self.num_repeats, self.batch_size)
            found[self.batch_size, tokens] += full
            found[rest, tokens] += 1 if rest else 0
        return +found

    def filled(self, samples: Iterable[Sample]) -> "Group":
        """Return this group with items made from the samples in its folder."""
        mine = [sample for sample in samples if sample.folder == self.folder]
        items = tuple(item for sample in mine for item in self._items(sample))
        repeats = mine[0].repeats if mine else 1
        return replace(self, items=items, num_repeats=self.num_repeats * repeats)

    def _items(self, sample: Sample) -> list[Item]:
        width, height = self._bucket((sample.width, sample.height))
        if self.extract is None:
            return [Item(sample.name, 1, width, height)]
        found = windows(sample.frames_16fps or 0, self.extract)
        return [Item(sample.name, frames, width, height, start) for start, frames in found]

    def _bucket(self, size: Size) -> Size:
        if self.extract is not None:
            # For clips, the trainer ignores these two settings: it always uses buckets, and it
            # scales small clips up.
            return bucket_of(size, self.resolution)
        return bucket_of(
            size, self.resolution, enabled=self.enable_bucket, no_upscale=self.bucket_no_upscale
        )


@dataclass(frozen=True, slots=True)
class GroupPlan:
    """The groups that a run trains on, each with at least one item.

    Attributes:
        left_out: Sentences that tell the user which items or clips are left out, and why.
        remarks: Sentences that tell the user about unusual items.
    """

    groups: tuple[Group, ...]
    left_out: tuple[str, ...]
    remarks: tuple[str, ...] = ()

    @property
    def items(self) -> tuple[Item, ...]:
        return tuple(item for group in self.groups for item in group.items)

    @property
    def steps_per_epoch(self) -> int:
        return sum(group.batches for group in self.groups)

    @property
    def step_sizes(self) -> Counter[StepSize]:
        """How many steps of each size an epoch has."""
        found: Counter[StepSize] = Counter()
        for group in self.groups:
            found += group.step_sizes
        return found


def token_count(size: Size, frames: int) -> int:
    """Return an item's number of tokens: latent frames times patches of 16 x 16 pixels."""
    width, height = size
    return ((frames - 1) // 4 + 1) * (width // STEP) * (height // STEP)


def tokens(item: Item) -> int:
    return token_count((item.bucket_width, item.bucket_height), item.frames)


def plan_of(groups: Sequence[Group], samples: Sequence[Sample]) -> GroupPlan:
    """Return the plan that these groups make from the samples, with notes on what is left out."""
    filled = [group.filled(samples) for group in groups]
    left_out = [sentence for group in filled for sentence in _gaps(group, samples)]
    used = tuple(group for group in filled if group.items)
    # The notes on two groups may be the same sentence; keep it once.
    return GroupPlan(used, tuple(dict.fromkeys(left_out)))


def _gaps(group: Group, samples: Sequence[Sample]) -> list[str]:
    mine = [sample for sample in samples if sample.folder == group.folder]
    if group.items:
        return _short(group, mine)
    if not mine:
        kind = "images" if group.extract is None else "clips"
        return [f"The dataset has no {kind}."]
    shortest, longest = min(group.target_frames), max(clip.frames_16fps or 0 for clip in mine)
    return [
        f"The group {group.name} is left out: no clip has {shortest} frames at 16 fps; "
        f"the longest has {longest}."
    ]


def _short(group: Group, clips: Sequence[Sample]) -> list[str]:
    """Return a sentence for each of the group's lengths that some of the clips do not reach."""
    if group.extract is None or group.extract.mode == "full":
        return []
    sentences: list[str] = []
    for target in group.target_frames:
        short = [clip for clip in clips if (clip.frames_16fps or 0) < target]
        if short:
            verb = "is" if len(short) == 1 else "are"
            sentences.append(
                f"{listed([clip.name for clip in short])} {verb} too short for the {target} frames "
                f"({target / FPS:.1f} s) of group {group.name}."
            )
    return sentences
