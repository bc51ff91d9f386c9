"""Sentences for users about the sizes of a plan's items, and about the effect of `max_frames`."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Literal

from training.dataset.config.group import Group, GroupPlan

FAR_BELOW = 0.5  # share of the group's area below which an image counts as small


def small_images(groups: Sequence[Group]) -> Iterator[str]:
    """Yield sentences about images with less than half the area of their group's resolution."""
    small: Counter[tuple[int, int]] = Counter()
    for group in groups:
        width, height = group.resolution
        if group.extract is None:
            small[group.resolution] += sum(
                item.bucket_width * item.bucket_height < FAR_BELOW * width * height
                for item in group.items
            )
    for (width, height), count in small.items():
        if count:
            who = "1 image trains at its" if count == 1 else f"{count} images train at their"
            yield (
                f"{who} own size, less than half the area of {width}x{height}: images are never "
                "enlarged, and the LoRA learns less detail from small ones."
            )


def different_sizes(groups: Sequence[Group]) -> Iterator[str]:
    """Yield a sentence on why long items train at a smaller size, if the sizes differ."""
    areas = {group.resolution[0] * group.resolution[1]: group for group in groups}
    if len(areas) > 1:
        most, least = areas[max(areas)], areas[min(areas)]
        yield (
            f"Items differ in size: the area of {_size(most)} for {_what(most)}, but only "
            f"{_size(least)} for {_what(least)}, so that more frames fit the GPU. Every image "
            "and clip keeps its shape."
        )


def cap_remarks(free: GroupPlan, capped: GroupPlan, max_frames: int) -> Iterator[str]:
    """Yield sentences about the effects of `max_frames`; `free` is the plan without that limit."""
    longest = max((item.frames for item in free.items), default=0)
    if max_frames >= longest:
        yield f"max-frames {max_frames} changes nothing: the longest item has {longest} frames."
        return
    for mode in ("uniform", "others"):
        after = max(_lengths(capped, mode), default=1)
        fate = "left out" if after == 1 else f"cut to {after} frames"
        for frames, count in sorted(_lengths(free, mode).items()):
            if frames > max_frames:
                are = "item of {} is" if count == 1 else "items of {} are"
                yield f"max-frames {max_frames}: {count} {are.format(f'{frames} frames')} {fate}."


def _lengths(plan: GroupPlan, mode: Literal["uniform", "others"]) -> Counter[int]:
    """Count the items of each length, either in the "uniform" groups or in all others."""
    return Counter(
        item.frames
        for group in plan.groups
        if (group.frame_extraction == "uniform") == (mode == "uniform")
        for item in group.items
    )


def _size(group: Group) -> str:
    return f"{group.resolution[0]}x{group.resolution[1]}"


def _what(group: Group) -> str:
    if group.extract is None:
        return "images"
    return f"items of {max(group.target_frames)} frames"
