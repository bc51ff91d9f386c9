"""The training guide's groups of items, fitted to a dataset and a model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from training.dataset.config.buckets import Size
from training.dataset.config.frame_windows import FPS, Extract, longest_4n1
from training.dataset.config.group import Group, GroupPlan, plan_of
from training.dataset.config.plan_remarks import cap_remarks, different_sizes, small_images
from training.dataset.report import Report, Sample
from training.vocabulary import Resolution

# 5 frames make 2 latent frames, because the VAE packs every four frames after the first into one.
FEWEST_MOVING_FRAMES = 5


@dataclass(frozen=True, slots=True)
class Sizes:
    """The width and height of each group of the training guide; only the areas matter."""

    images: Size
    short: Size
    long: Size


# The 720p sizes and orientations are from the training guide's TOML. At 480p, every group has
# the area of 832 x 480, which is the largest for a 480p model. A step on long clips then has 18,720
# tokens, fewer than the 21,600 of a step on the guide's short clips at 720p.
SIZES: Mapping[Resolution, Sizes] = MappingProxyType(
    {
        "720p": Sizes(images=(720, 1280), short=(1280, 720), long=(960, 544)),
        "480p": Sizes(images=(480, 832), short=(832, 480), long=(832, 480)),
    }
)
SHORT_FRAMES, LONG_FRAMES, LONG_WINDOWS = 21, 45, 2  # as in the training guide
IMAGES = Group(name="images", folder="images", resolution=SIZES["720p"].images)


def plan_groups(
    report: Report,
    resolution: Resolution = "720p",
    max_frames: int | None = None,
    *,
    has_single_frames: bool = True,
) -> GroupPlan:
    """Return the training guide's groups, adapted to use every clip of this dataset.

    If any clip is shorter than the guide's 21 frames, a "full" group takes up to 21 frames of each
    clip, and the "head" group takes only the first frame. `max_frames` limits the length of items,
    for a GPU with little memory. If `has_single_frames` is False, images and single frames of
    clips are left out.
    """
    plan = _plan(report, SIZES[resolution], max_frames, has_single_frames=has_single_frames)
    remarks = [*small_images(plan.groups), *different_sizes(plan.groups)]
    if max_frames is not None:
        free = _plan(report, SIZES[resolution], None, has_single_frames=has_single_frames)
        remarks += cap_remarks(free, plan, max_frames)
    return replace(plan, remarks=tuple(remarks))


def _plan(
    report: Report, sizes: Sizes, max_frames: int | None, *, has_single_frames: bool
) -> GroupPlan:
    groups = [
        replace(IMAGES, name=folder, folder=folder, resolution=sizes.images)
        for folder in image_folders(report)
    ]
    folders = sorted({clip.folder for clip in report.clips}) or ["videos"]
    for folder in folders:
        clips = [clip for clip in report.clips if clip.folder == folder]
        groups += _clip_groups(folder, clips, sizes, max_frames)
    plan = plan_of(groups, report.samples)
    return plan if has_single_frames else _without_single_frames(plan, report)


def _without_single_frames(plan: GroupPlan, report: Report) -> GroupPlan:
    """Return the plan without images and single frames of clips; "full" groups stay as they are."""
    groups: list[Group] = []
    for group in plan.groups:
        if group.extract is None:
            continue
        targets = tuple(frames for frames in group.target_frames if frames > 1)
        if group.extract.mode != "full":
            group = replace(group, extract=replace(group.extract, target_frames=targets))
        if targets:
            groups.append(group)
    left_out = [*plan.left_out]
    if report.images:
        count = len(report.images)
        images = "1 image is" if count == 1 else f"{count} images are"
        left_out.append(f"{images} left out, because only clips are trained on.")
    kept = plan_of(groups, report.samples)
    return GroupPlan(kept.groups, tuple(dict.fromkeys((*left_out, *kept.left_out))))


def image_folders(report: Report) -> list[str]:
    """Return the folders that hold images, one per repeat count; ["images"] if there are none."""
    return sorted({image.folder for image in report.images}) or [IMAGES.folder]


def suits(report: Report, *, needs_video: bool) -> str | None:
    """Return why a model cannot train on the dataset; None if it can."""
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
            f"{FEWEST_MOVING_FRAMES} frames at 16 fps ({FEWEST_MOVING_FRAMES / FPS:.1f} s)."
        )
    return None


def _clip_groups(
    folder: str, clips: Sequence[Sample], sizes: Sizes, max_frames: int | None
) -> list[Group]:
    """Return the training guide's groups for a folder of clips with the same frame rate."""
    short, long = (_capped(frames, max_frames) for frames in (SHORT_FRAMES, LONG_FRAMES))
    suffix = folder.removeprefix("videos")
    rate = clips[0].stored_fps if clips else float(FPS)

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
