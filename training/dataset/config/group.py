"""One `[[datasets]]` of the trainer: its keys, and the items that it makes of a set."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from training.dataset.config.buckets import STEP, Size, bucket_of
from training.dataset.config.frame_windows import Extract, Extraction, windows
from training.dataset.report import Sample
from training.wording import listed

Bucket = tuple[int, int, int]  # width, height, frames


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that is trained on: an image, or some frames of a clip.

    Attributes:
        frames: 1 for an image.
        start: The first frame within the clip, at 16 fps.
    """

    sample_name: str
    frames: int
    bucket_width: int
    bucket_height: int
    start: int = 0

    @property
    def bucket(self) -> Bucket:
        """Return what items of one batch have in common."""
        return self.bucket_width, self.bucket_height, self.frames


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """One `[[datasets]]` of the trainer.

    Attributes:
        name: Unique within a plan; names the group's cache directory.
        folder: Where its media lie, below the prepared set.
        resolution: Width and height, whose area the buckets keep.
        extract: What is taken of a clip; None for images.
        source_fps: Frame rate of the clips as stored.
        num_repeats: How often an epoch shows each item.
        items: What is cached; repeats do not multiply them.
    """

    name: str
    folder: str
    resolution: Size
    extract: Extract | None = None
    source_fps: float = 16.0
    batch_size: int = 1
    num_repeats: int = 1
    enable_bucket: bool = True
    bucket_no_upscale: bool = True
    items: tuple[Item, ...] = ()

    @property
    def frame_extraction(self) -> Extraction | None:
        """Return where in a clip its items begin; None for images."""
        return self.extract.mode if self.extract else None

    @property
    def target_frames(self) -> tuple[int, ...]:
        """Return the lengths of its items in frames; empty for images."""
        if self.extract is None:
            return ()
        if self.extract.mode == "full":
            return (self.extract.max_frames,)
        return self.extract.target_frames

    @property
    def buckets(self) -> dict[Bucket, int]:
        """Return how many items each bucket holds."""
        return dict(sorted(Counter(item.bucket for item in self.items).items()))

    @property
    def batches(self) -> int:
        """Return the optimizer steps of one epoch; a bucket's last batch may be short."""
        return sum(
            math.ceil(count * self.num_repeats / self.batch_size) for count in self.buckets.values()
        )

    def filled(self, samples: Iterable[Sample]) -> "Group":
        """Return the group with the items that it makes of the samples in its folder."""
        mine = [sample for sample in samples if sample.folder == self.folder]
        return replace(self, items=tuple(item for sample in mine for item in self._items(sample)))

    def _items(self, sample: Sample) -> list[Item]:
        width, height = self._bucket((sample.width, sample.height))
        if self.extract is None:
            return [Item(sample.name, 1, width, height)]
        found = windows(sample.frames_16fps or 0, self.extract)
        return [Item(sample.name, frames, width, height, start) for start, frames in found]

    def _bucket(self, size: Size) -> Size:
        if self.extract is not None:
            # The trainer buckets clips whatever is set, and scales them up as well.
            return bucket_of(size, self.resolution)
        return bucket_of(
            size, self.resolution, enabled=self.enable_bucket, no_upscale=self.bucket_no_upscale
        )


@dataclass(frozen=True, slots=True)
class GroupPlan:
    """The groups that yield items; `left_out` says in sentences what does not, and why."""

    groups: tuple[Group, ...]
    left_out: tuple[str, ...]

    @property
    def items(self) -> tuple[Item, ...]:
        """All items that are cached."""
        return tuple(item for group in self.groups for item in group.items)

    @property
    def steps_per_epoch(self) -> int:
        """Return the optimizer steps of one epoch."""
        return sum(group.batches for group in self.groups)


def token_count(size: Size, frames: int) -> int:
    """Return how many tokens the transformer sees: latent frames times patches of 16 x 16."""
    width, height = size
    return ((frames - 1) // 4 + 1) * (width // STEP) * (height // STEP)


def tokens(item: Item) -> int:
    """Return how many tokens the transformer sees of an item."""
    return token_count((item.bucket_width, item.bucket_height), item.frames)


def plan_of(groups: Sequence[Group], samples: Sequence[Sample]) -> GroupPlan:
    """Return the plan of groups over these samples, with a sentence for each gap."""
    filled = [group.filled(samples) for group in groups]
    left_out = [sentence for group in filled for sentence in _gaps(group, samples)]
    used = tuple(group for group in filled if group.items)
    return GroupPlan(used, tuple(dict.fromkeys(left_out)))  # two groups may lack the same


def _gaps(group: Group, samples: Sequence[Sample]) -> list[str]:
    mine = [sample for sample in samples if sample.folder == group.folder]
    if group.items:
        return _short(group, mine)
    if not mine:
        kind = "images" if group.extract is None else "clips"
        return [f"The set has no {kind}."]
    shortest, longest = min(group.target_frames), max(clip.frames_16fps or 0 for clip in mine)
    return [
        f"The group {group.name} is left out: no clip has {shortest} frames at 16 fps; "
        f"the longest has {longest}."
    ]


def _short(group: Group, clips: Sequence[Sample]) -> list[str]:
    """Name the clips that a target length drops; "full" drops none."""
    if group.extract is None or group.extract.mode == "full":
        return []
    sentences: list[str] = []
    for target in group.target_frames:
        short = [clip for clip in clips if (clip.frames_16fps or 0) < target]
        if short:
            verb = "is" if len(short) == 1 else "are"
            sentences.append(
                f"{listed([clip.name for clip in short])} {verb} too short for the {target} frames "
                f"({target / 16:.1f} s) of group {group.name}."
            )
    return sentences
