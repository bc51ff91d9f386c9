"""The guide's training groups, sized for a model and fitted to a dataset."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from training.dataset.config.buckets import Size
from training.dataset.config.frame_windows import Extract, longest_4n1
from training.dataset.config.group import Group, GroupPlan, plan_of
from training.dataset.report import Report, Sample
from training.vocabulary import Resolution

FEWEST_MOVING_FRAMES = 5  # the VAE packs the frames after the first by four


@dataclass(frozen=True, slots=True)
class Sizes:
    """Width and height of each of the guide's groups; only their areas matter."""

    images: Size
    short: Size
    long: Size


# 720p is the dataset TOML of the guide; its resolutions differ in orientation there too. 480p
# keeps all at the area of 832 x 480, for a 480p model sees no larger one: its long clips then
# have 18,720 tokens a step, fewer than the 21,600 of the guide's short ones at 720p.
SIZES: Mapping[Resolution, Sizes] = MappingProxyType(
    {
        "720p": Sizes(images=(720, 1280), short=(1280, 720), long=(960, 544)),
        "480p": Sizes(images=(480, 832), short=(832, 480), long=(832, 480)),
    }
)
SHORT_FRAMES, LONG_FRAMES, LONG_WINDOWS = 21, 45, 2  # of the guide
IMAGES = Group(name="images", folder="images", resolution=SIZES["720p"].images)
CLIPS_UNIFORM = Group(
    name="clips-uniform",
    folder="videos",
    resolution=SIZES["720p"].long,
    extract=Extract(mode="uniform", target_frames=(LONG_FRAMES,), sample=LONG_WINDOWS),
)

# Width and height of the names, in landscape.
RESOLUTIONS: Mapping[Resolution, Size] = MappingProxyType({"480p": (832, 480), "720p": (1280, 720)})


def plan_groups(
    report: Report, resolution: Resolution = "720p", max_frames: int | None = None
) -> GroupPlan:
    """Return the guide's groups that fit this dataset, so that every clip is used.

    Clips shorter than the guide's 21 frames are used at their own length: if there are any,
    "full" takes up to 21 frames of each clip and "head" only the first frame.

    Args:
        report: Of the dataset as it will be used.
        resolution: The model's, or the requested one.
        max_frames: Longest item, if the guide's are too long for the GPU.
    """
    sizes = SIZES[resolution]
    groups = [replace(IMAGES, resolution=sizes.images)]
    folders = sorted({clip.folder for clip in report.clips}) or ["videos"]
    for folder in folders:
        clips = [clip for clip in report.clips if clip.folder == folder]
        groups += _clip_groups(folder, clips, sizes, max_frames)
    return plan_of(groups, report.samples)


def suits(report: Report, *, needs_video: bool) -> str | None:
    """Return why the dataset does not suit a model, or None if it does."""
    if not report.samples:
        return "The dataset has no usable image or clip."
    if needs_video and not report.clips:
        return (
            "An image-to-video model learns movement from clips, but this dataset has only images."
        )
    longest = max((clip.frames_16fps or 0 for clip in report.clips), default=0)
    if needs_video and longest < FEWEST_MOVING_FRAMES:
        return (
            "An image-to-video model learns movement from clips, but none of these has at least "
            f"{FEWEST_MOVING_FRAMES} frames at 16 fps ({FEWEST_MOVING_FRAMES / 16:.1f} s)."
        )
    return None


def _clip_groups(
    folder: str, clips: Sequence[Sample], sizes: Sizes, max_frames: int | None
) -> list[Group]:
    """Return the guide's groups for the clips of one folder, which share a frame rate."""
    short, long = (_capped(frames, max_frames) for frames in (SHORT_FRAMES, LONG_FRAMES))
    suffix = folder.removeprefix("videos")
    rate = clips[0].stored_fps if clips else 16.0

    def group(name: str, size: Size, extract: Extract) -> Group:
        return Group(
            name=name + suffix, folder=folder, resolution=size, extract=extract, source_fps=rate
        )

    if all((clip.frames_16fps or 0) >= short for clip in clips):
        targets = tuple(sorted({1, short}))
        groups = [group("clips-head", sizes.short, Extract(target_frames=targets))]
    else:
        groups = [
            group("clips-head", sizes.short, Extract(target_frames=(1,))),
            group("clips-full", sizes.short, Extract(mode="full", max_frames=short)),
        ]
    if long > short:
        uniform = Extract(mode="uniform", target_frames=(long,), sample=LONG_WINDOWS)
        groups.append(group("clips-uniform", sizes.long, uniform))
    return groups


def _capped(frames: int, max_frames: int | None) -> int:
    return frames if max_frames is None else longest_4n1(min(frames, max_frames))
