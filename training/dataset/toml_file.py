"""The dataset file that musubi-tuner reads, in the guide's order of keys."""

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

import tomli_w

from training.dataset.groups import Group, GroupPlan

GENERAL = {"caption_extension": ".txt", "enable_bucket": True, "bucket_no_upscale": True}
# The guide leaves it out, and clips of another rate are then learned as slow motion. A float,
# or the trainer refuses the file.
SOURCE_FPS = 16.0


def render_toml(plan: GroupPlan, *, media: PurePosixPath, caches: PurePosixPath) -> str:
    """Return the dataset TOML of a plan.

    Args:
        plan: Groups that each yield items.
        media: The repaired set's folder, with `images/` and `videos/`.
        caches: The folder that gets a cache directory for each group.
    """
    datasets = [_dataset(group, media, caches) for group in plan.groups]
    return tomli_w.dumps({"general": GENERAL, "datasets": datasets})


def _dataset(group: Group, media: PurePosixPath, caches: PurePosixPath) -> dict[str, Any]:
    is_images = group.frame_extraction is None
    directory = "image_directory" if is_images else "video_directory"
    entries: dict[str, Any] = {
        directory: str(media / ("images" if is_images else "videos")),
        "cache_directory": str(caches / group.name),
        "resolution": list(group.resolution),
        "batch_size": 1,
        "num_repeats": 1,
    }
    if is_images:
        return entries
    entries["source_fps"] = SOURCE_FPS
    entries["frame_extraction"] = group.frame_extraction
    entries["target_frames"] = list(group.target_frames)
    if group.frame_sample is not None:
        entries["frame_sample"] = group.frame_sample
    return entries


def render_listed_toml(
    groups: Sequence[Group], *, listings: PurePosixPath, caches: PurePosixPath
) -> str:
    """Return a dataset TOML with the groups' settings for the media in `<group>.jsonl`.

    Args:
        groups: Groups of which only some media are wanted.
        listings: The folder that holds a listing for each group.
        caches: As for `render_toml`.
    """
    datasets: list[dict[str, Any]] = []
    for group in groups:
        entries = _dataset(group, listings, caches)
        kind = "image" if entries.pop("image_directory", None) else "video"
        entries.pop("video_directory", None)
        listing = str(listings / f"{group.name}.jsonl")
        datasets.append({f"{kind}_jsonl_file": listing, **entries})
    return tomli_w.dumps({"general": GENERAL, "datasets": datasets})


# Where in a clip items begin and how often each is trained; none of it changes how one is encoded.
_CHOICES = {"target_frames", "frame_extraction", "frame_sample", "batch_size", "num_repeats"}


def encoding_settings(group: Group) -> dict[str, Any]:
    """Return those settings of a group that decide how an item of it is encoded."""
    entries = _dataset(group, PurePosixPath(), PurePosixPath())
    places = {key for key in entries if key.endswith("_directory")}
    return {**GENERAL, **{k: v for k, v in entries.items() if k not in _CHOICES | places}}
