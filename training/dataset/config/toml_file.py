"""Writes musubi-tuner's dataset TOML, with the keys in the same order as in the training guide."""

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

import tomli_w

from training.dataset.config.frame_windows import Extract
from training.dataset.config.group import Group, GroupPlan

GENERAL = {"caption_extension": ".txt", "enable_bucket": True, "bucket_no_upscale": True}


def render_toml(plan: GroupPlan, *, media: PurePosixPath, caches: PurePosixPath) -> str:
    """Return a plan's dataset TOML; `media` is the folder that holds `images/` and `videos/`."""
    datasets = [_dataset(group, media, caches) for group in plan.groups]
    return tomli_w.dumps({"general": GENERAL, "datasets": datasets})


def _dataset(group: Group, media: PurePosixPath, caches: PurePosixPath) -> dict[str, Any]:
    directory = "image_directory" if group.extract is None else "video_directory"
    entries: dict[str, Any] = {
        directory: str(media / group.folder),
        "cache_directory": str(caches / group.name),
        "resolution": list(group.resolution),
        "batch_size": group.batch_size,
        "num_repeats": group.num_repeats,
    }
    for key in ("enable_bucket", "bucket_no_upscale"):
        if getattr(group, key) != GENERAL[key]:
            entries[key] = getattr(group, key)
    if group.extract is not None:
        # The training guide omits this key. But without it, the trainer treats every clip as 16
        # fps, so it learns slow motion from faster clips. The trainer refuses values that are not
        # floats.
        entries["source_fps"] = float(group.source_fps)
        entries.update(_extract(group.extract))
    return entries


def _extract(extract: Extract) -> dict[str, Any]:
    """Return the keys that `extract.mode` uses; the trainer ignores all others."""
    if extract.mode == "full":
        return {"frame_extraction": extract.mode, "max_frames": extract.max_frames}
    keys: dict[str, Any] = {
        "frame_extraction": extract.mode,
        "target_frames": list(extract.target_frames),
    }
    if extract.mode == "slide":
        keys["frame_stride"] = extract.stride
    if extract.mode == "uniform":
        keys["frame_sample"] = extract.sample
    return keys


def render_listed_toml(
    groups: Sequence[Group], *, listings: PurePosixPath, caches: PurePosixPath
) -> str:
    """Return a dataset TOML whose groups read `listings/<group>.jsonl` instead of folders."""
    datasets: list[dict[str, Any]] = []
    for group in groups:
        entries = _dataset(group, listings, caches)
        kind = "image" if entries.pop("image_directory", None) else "video"
        entries.pop("video_directory", None)
        listing = str(listings / f"{group.name}.jsonl")
        datasets.append({f"{kind}_jsonl_file": listing, **entries})
    return tomli_w.dumps({"general": GENERAL, "datasets": datasets})


# These settings choose the frames and their repeats. They do not change how an item is encoded.
_CHOICES = {
    *("frame_extraction", "target_frames", "frame_stride", "frame_sample", "max_frames"),
    *("batch_size", "num_repeats"),
}


def encoding_settings(group: Group) -> dict[str, Any]:
    """Return a group's settings that affect how its items are encoded, such as the resolution."""
    entries = _dataset(group, PurePosixPath(), PurePosixPath())
    places = {key for key in entries if key.endswith("_directory")}
    return {**GENERAL, **{k: v for k, v in entries.items() if k not in _CHOICES | places}}
