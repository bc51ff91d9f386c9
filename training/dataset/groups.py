"""What the trainer makes of a dataset: the guide's three groups, item by item."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

import numpy as np

from training.dataset.buckets import STEP, Size, bucket_of
from training.dataset.report import Report, Sample
from training.suggestion import Resolution

GroupName = Literal["images", "clips-head", "clips-uniform"]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """One `[[datasets]]` of the trainer.

    Attributes:
        resolution: Width and height, whose area the buckets keep.
        target_frames: Lengths of the items in frames; empty for images.
        frame_extraction: Where in a clip items begin; None for images.
        frame_sample: How many windows "uniform" takes of each clip.
    """

    name: GroupName
    resolution: Size
    target_frames: tuple[int, ...] = ()
    frame_extraction: Literal["head", "uniform"] | None = None
    frame_sample: int | None = None
    items: tuple[Item, ...] = ()


@dataclass(frozen=True, slots=True)
class GroupPlan:
    """The groups that yield items; `left_out` says in sentences what does not, and why."""

    groups: tuple[Group, ...]
    left_out: tuple[str, ...]

    @property
    def items(self) -> tuple[Item, ...]:
        """All items of an epoch."""
        return tuple(item for group in self.groups for item in group.items)


# Source: the dataset TOML of the guide; the resolutions differ in orientation there too.
IMAGES = Group(name="images", resolution=(720, 1280))
CLIPS_HEAD = Group(
    name="clips-head", resolution=(1280, 720), target_frames=(1, 21), frame_extraction="head"
)
CLIPS_UNIFORM = Group(
    name="clips-uniform",
    resolution=(960, 544),
    target_frames=(45,),
    frame_extraction="uniform",
    frame_sample=2,
)

# Width and height of the names, in landscape.
RESOLUTIONS: Mapping[Resolution, Size] = MappingProxyType({"480p": (832, 480), "720p": (1280, 720)})


def plan_groups(
    report: Report, *, max_frames: int | None = None, resolution: Resolution | None = None
) -> GroupPlan:
    """Return the groups of the guide that this dataset fills.

    Args:
        report: What the inspection of the dataset found.
        max_frames: The most frames of a clip at once; longer targets become this long.
        resolution: The largest area; what is larger becomes this large.
    """
    groups: list[Group] = []
    left_out: list[str] = []
    images, *clips = (
        _limited(group, max_frames, resolution) for group in (IMAGES, CLIPS_HEAD, CLIPS_UNIFORM)
    )
    if report.images:
        groups.append(_with(images, [_image_item(image, images) for image in report.images]))
    else:
        left_out.append("The group images is left out: the set has no images.")
    for template in clips:
        items = [item for clip in report.clips for item in _clip_items(clip, template)]
        if items:
            groups.append(_with(template, items))
            left_out += _short_clips(report.clips, template)
        else:
            left_out.append(_why_empty(report.clips, template))
    return GroupPlan(tuple(groups), tuple(left_out))


def at_most(size: Size, resolution: Resolution) -> Size:
    """Return `size`, or what the resolution's name stands for where that is a smaller area."""
    long, short = RESOLUTIONS[resolution]
    width, height = size
    if width * height <= long * short:
        return size
    return (long, short) if width >= height else (short, long)


def tokens(item: Item) -> int:
    """Return how many tokens the transformer sees: latent frames times patches of 16 x 16."""
    return ((item.frames - 1) // 4 + 1) * (item.bucket_width // STEP) * (item.bucket_height // STEP)


def suits(report: Report, *, needs_video: bool) -> str | None:
    """Return why the set does not suit a model, or None where it does."""
    if not report.samples:
        return "The set has no image or clip that can be used."
    if needs_video and not report.clips:
        return "An image-to-video model learns movement from clips, and this set has only images."
    shortest = min(frames for frames in CLIPS_HEAD.target_frames if frames > 1)
    if needs_video and all((clip.frames_16fps or 0) < shortest for clip in report.clips):
        return (
            "An image-to-video model learns movement from clips, and none of this set has the "
            f"{shortest} frames at 16 fps ({shortest / 16:.1f} s) that are trained as video."
        )
    return None


def _limited(template: Group, max_frames: int | None, resolution: Resolution | None) -> Group:
    # A latent frame stands for four frames, the first for one.
    most = (max_frames - 1) // 4 * 4 + 1 if max_frames else None
    targets = (min(frames, most or frames) for frames in template.target_frames)
    size = template.resolution
    return replace(
        template,
        resolution=at_most(size, resolution) if resolution else size,
        target_frames=tuple(dict.fromkeys(targets)),
    )


def _with(template: Group, items: Sequence[Item]) -> Group:
    return replace(template, items=tuple(items))


def _image_item(image: Sample, group: Group) -> Item:
    width, height = bucket_of((image.width, image.height), group.resolution, no_upscale=True)
    return Item(image.name, 1, width, height)


def _clip_items(clip: Sample, group: Group) -> Iterator[Item]:
    # The trainer scales clips up as well: bucket_no_upscale holds for images only.
    width, height = bucket_of((clip.width, clip.height), group.resolution, no_upscale=False)
    for target in group.target_frames:
        for start in _starts(clip.frames_16fps or 0, target, group):
            yield Item(clip.name, target, width, height, start)


def _starts(frames: int, target: int, group: Group) -> list[int]:
    if frames < target:
        return []
    if group.frame_extraction == "head":
        return [0]
    starts = np.linspace(0, frames - target, group.frame_sample or 1, dtype=int)
    # Windows at the same place share one cache file, and so are one item.
    return sorted({int(start) for start in starts})


def _short_clips(clips: Sequence[Sample], group: Group) -> Iterator[str]:
    for target in group.target_frames:
        short = [clip for clip in clips if (clip.frames_16fps or 0) < target]
        if short:
            verb = "is" if len(short) == 1 else "are"
            yield (
                f"{_named(short)} {verb} not used at {target} frames in the group {group.name}: "
                f"too short ({target} frames are {target / 16:.1f} s)."
            )


def _why_empty(clips: Sequence[Sample], group: Group) -> str:
    if not clips:
        return f"The group {group.name} is left out: the set has no clips."
    shortest, longest = min(group.target_frames), max(clip.frames_16fps or 0 for clip in clips)
    return (
        f"The group {group.name} is left out: no clip has {shortest} frames at 16 fps; "
        f"the longest has {longest}."
    )


def _named(clips: Sequence[Sample]) -> str:
    shown = ", ".join(clip.name for clip in clips[:5])
    return shown if len(clips) <= 5 else f"{shown} and {len(clips) - 5} more"
