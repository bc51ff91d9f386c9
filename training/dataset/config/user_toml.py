"""Turns a user's dataset TOML into training groups for a dataset, and reports its mistakes."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from training.dataset.config.frame_windows import Extract, windows
from training.dataset.config.group import Group, GroupPlan, plan_of
from training.dataset.config.guide_groups import image_folders
from training.dataset.config.plan_remarks import small_images
from training.dataset.config.toml_schema import DatasetKeys, ImageKeys, VideoKeys
from training.dataset.config.user_toml_tables import Remarks, read_tables, where
from training.dataset.report import Finding, Report
from training.wording import listed

_MOST_ITEMS = 100_000
_SHOWN_SAMPLES = 8


@dataclass(frozen=True, slots=True)
class UserTomlPlan:
    """The groups that a TOML makes from a dataset; there are none if any finding is an error."""

    plan: GroupPlan
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.severity == "error")


def plan_user_toml(text: str, report: Report) -> UserTomlPlan:
    """Check a dataset TOML and return the groups that it makes from the dataset.

    All paths in the TOML are replaced: images and clips come from the dataset's own folders, and
    caches get new folders. The frame rate is that of the stored clips.
    """
    remarks = Remarks()
    groups = [
        group
        for number, keys in enumerate(read_tables(text, remarks), start=1)
        for group in _groups(number, keys, report, remarks)
    ]
    if not remarks.has_errors:
        _limit_items(groups, report, remarks)
    if remarks.has_errors:
        return UserTomlPlan(GroupPlan((), ()), remarks.found)
    plan = plan_of(groups, report.samples)
    plan = replace(plan, remarks=tuple(small_images(plan.groups)))
    for group in plan.groups:
        _check_batches(group, remarks)
    _note_unused(plan, report, remarks)
    _note_repeats(report, remarks)
    return UserTomlPlan(GroupPlan((), ()) if remarks.has_errors else plan, remarks.found)


def _groups(number: int, keys: DatasetKeys, report: Report, remarks: Remarks) -> list[Group]:
    at = where(number)
    _note_paths(at, keys, remarks)
    group = Group(
        name=f"{number}-images",
        folder="images",
        resolution=keys.size,
        batch_size=keys.batch_size,
        num_repeats=keys.num_repeats,
        enable_bucket=keys.enable_bucket,
        bucket_no_upscale=keys.bucket_no_upscale,
    )
    if isinstance(keys, ImageKeys):
        _note_buckets(at, group, remarks)
        return [
            replace(group, name=f"{number}-{folder}", folder=folder)
            for folder in image_folders(report)
        ]
    extract = _extract(at, keys, remarks)
    found: list[Group] = []
    for folder, rate in sorted({(clip.folder, clip.stored_fps) for clip in report.clips}):
        _note_rate(at, keys.source_fps, rate, remarks)
        name = f"{number}-clips{folder.removeprefix('videos')}"
        found.append(replace(group, name=name, folder=folder, extract=extract, source_fps=rate))
    return found or [replace(group, name=f"{number}-clips", folder="videos", extract=extract)]


def _extract(at: str, keys: VideoKeys, remarks: Remarks) -> Extract:
    extract, given = keys.extract, sorted(set(keys.target_frames))
    rounded = list(extract.target_frames)
    if rounded != given and extract.mode != "full":
        remarks.changed(
            "toml-frames-not-4n1",
            f"{at}: not all target_frames {given} are 4N+1, as Wan requires.",
            f"Rounded down to {rounded}, as the trainer does.",
        )
    if extract.mode != keys.frame_extraction:
        remarks.changed(
            "toml-uniform-of-one",
            f"{at}: uniform with frame_sample 1 is the same as head.",
            "Changed to head. Set frame_sample = 2 or more to cover the whole clip.",
        )
    return extract


def _note_paths(at: str, keys: DatasetKeys, remarks: Remarks) -> None:
    if keys.cache_directory is not None:
        remarks.changed(
            "toml-cache-directory",
            f"{at} names a cache directory on another machine.",
            "Replaced; every dataset gets its own cache.",
        )
    extension = keys.caption_extension
    if extension != ".txt":
        was = "no caption_extension" if extension is None else f"caption_extension {extension!r}"
        remarks.changed(
            "toml-caption-extension", f"{at} has {was}.", 'Set to ".txt", like the stored captions.'
        )


def _note_buckets(at: str, group: Group, remarks: Remarks) -> None:
    width, height = group.resolution
    if not group.enable_bucket and (width % 16 or height % 16):
        remarks.error(
            "toml-size-not-16",
            f"{at}: without buckets, images become {width} x {height}, but the model only takes "
            "multiples of 16.",
            "Set enable_bucket = true, or a resolution in multiples of 16.",
        )
    elif not group.enable_bucket:
        remarks.warning(
            "toml-no-buckets",
            f"{at}: without enable_bucket, every image is cropped to {width} x {height}.",
            "Set enable_bucket = true to keep the aspect ratio of each image.",
        )
    elif not group.bucket_no_upscale:
        remarks.warning(
            "toml-upscales",
            f"{at}: without bucket_no_upscale, small images are enlarged, and the LoRA learns the "
            "resulting blur.",
            "Set bucket_no_upscale = true.",
        )


def _note_rate(at: str, given: float | None, stored: float, remarks: Remarks) -> None:
    if given == stored:
        return
    if given is None:
        cause = f"{at} has no source_fps; without it, the trainer ignores frame rates."
    else:
        cause = f"{at} says source_fps = {given:g}, but the stored clips have {stored:g}."
    remarks.changed("toml-source-fps", cause, f"Set to {stored:g}, the clips' own rate.")


def _note_repeats(report: Report, remarks: Remarks) -> None:
    repeated = sorted({sample.repeats for sample in report.samples} - {1})
    if repeated:
        remarks.changed(
            "toml-repeats",
            f"Folders of this dataset are repeated {', '.join(map(str, repeated))} times.",
            "These numbers are multiplied by num_repeats.",
        )


def _limit_items(groups: Iterable[Group], report: Report, remarks: Remarks) -> None:
    count = 0
    for group in groups:
        for sample in report.samples:
            if sample.folder != group.folder:
                continue
            extract = group.extract
            count += len(windows(sample.frames_16fps or 0, extract)) if extract else 1
            if count > _MOST_ITEMS:
                remarks.error(
                    "toml-too-many-items",
                    f"The TOML cuts this dataset into more than {_MOST_ITEMS:,} items.",
                    'Raise frame_stride or target_frames, or use frame_extraction = "uniform".',
                )
                return


def _check_batches(group: Group, remarks: Remarks) -> None:
    by_frames: dict[int, set[tuple[int, int]]] = {}
    for width, height, frames in group.buckets:
        by_frames.setdefault(frames, set()).add((width, height))
    is_mixed = any(len(sizes) > 1 for sizes in by_frames.values())
    if is_mixed and group.batch_size > 1 and not group.enable_bucket:
        remarks.error(
            "toml-mixed-batch",
            f"Group {group.name} has batch_size {group.batch_size} without enable_bucket, and "
            "its clips differ in size: training would fail at the first mixed batch.",
            "Set enable_bucket = true, or batch_size = 1.",
        )


def _note_unused(plan: GroupPlan, report: Report, remarks: Remarks) -> None:
    used = {item.sample_name for item in plan.items}
    unused = [sample.name for sample in report.samples if sample.name not in used]
    if not plan.items:
        remarks.error(
            "toml-nothing-left",
            " ".join(("The TOML leaves nothing to train on.", *plan.left_out)),
            "Lower target_frames, or add a dataset for the kind of media you have.",
        )
    elif unused:
        remarks.warning(
            "toml-samples-dropped",
            f"{len(unused)} of {len(report.samples)} samples are not used: "
            f"{listed(unused, _SHOWN_SAMPLES)}.",
            "Lower target_frames to the length of these clips, or use frame_extraction = "
            '"full". If images or clips have no dataset in the TOML, add one.',
        )
