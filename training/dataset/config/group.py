"""One `[[datasets]]` of the trainer, and the items it makes of a dataset."""

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
    """One training item: an image, or some frames of a clip.

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
        """The size and length that all items of a batch share."""
        return self.bucket_width, self.bucket_height, self.frames


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """One `[[datasets]]` of the trainer.

    Attributes:
        name: Unique within a plan; also the name of the cache directory.
        folder: Folder of the media within the prepared dataset.
        resolution: Width and height whose area the buckets keep.
        extract: Frames to take of a clip; None for images.
        source_fps: Frame rate of the stored clips.
        num_repeats: Times an epoch uses each item.
        items: The cached items; repeats do not multiply them.
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
        """How frames are taken of a clip; None for images."""
        return self.extract.mode if self.extract else None

    @property
    def target_frames(self) -> tuple[int, ...]:
        """Item lengths in frames; empty for images."""
        if self.extract is None:
            return ()
        if self.extract.mode == "full":
            return (self.extract.max_frames,)
        return self.extract.target_frames

    @property
    def buckets(self) -> dict[Bucket, int]:
        """The number of items in each bucket."""
        return dict(sorted(Counter(item.bucket for item in self.items).items()))

    @property
    def batches(self) -> int:
        """Optimizer steps per epoch; the last batch of a bucket may be short."""
        return sum(
            math.ceil(count * self.num_repeats / self.batch_size) for count in self.buckets.values()
        )

    def filled(self, samples: Iterable[Sample]) -> "Group":
        """Return the group with the items of the samples in its folder."""
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
            # The trainer always buckets clips and always scales them up, whatever is set.
            return bucket_of(size, self.resolution)
        return bucket_of(
            size, self.resolution, enabled=self.enable_bucket, no_upscale=self.bucket_no_upscale
        )


@dataclass(frozen=True, slots=True)
class GroupPlan:
    """The groups that have items; `left_out` explains in sentences what is not used."""

    groups: tuple[Group, ...]
    left_out: tuple[str, ...]

    @property
    def items(self) -> tuple[Item, ...]:
        """All cached items."""
        return tuple(item for group in self.groups for item in group.items)

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps per epoch."""
        return sum(group.batches for group in self.groups)


def token_count(size: Size, frames: int) -> int:
    """Return how many tokens the transformer sees: latent frames times patches of 16 x 16."""
    width, height = size
    return ((frames - 1) // 4 + 1) * (width // STEP) * (height // STEP)


def tokens(item: Item) -> int:
    """Return how many tokens the transformer sees of an item."""
    return token_count((item.bucket_width, item.bucket_height), item.frames)


def plan_of(groups: Sequence[Group], samples: Sequence[Sample]) -> GroupPlan:
    """Return the plan of these groups, with a sentence for everything left out."""
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
    """Name the clips that are too short for a target length; "full" uses all."""
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
