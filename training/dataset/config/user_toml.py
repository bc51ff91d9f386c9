"""A user's own dataset TOML: checked key by key, its paths replaced, its items predicted."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from training.dataset.config.frame_windows import Extract, longest_4n1, windows
from training.dataset.config.group import Group, GroupPlan, plan_of
from training.dataset.config.user_toml_findings import Remarks
from training.dataset.config.user_toml_tables import Table, read_tables, section_of, where
from training.dataset.report import Finding, Report, Sample

_DEFAULT_RESOLUTION = [960, 544]  # of musubi-tuner
_MANY_ITEMS = 100_000


@dataclass(frozen=True, slots=True)
class OwnPlan:
    """What a TOML makes of a set; without groups where a finding is an error."""

    plan: GroupPlan
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> tuple[Finding, ...]:
        """Return what stands against using it."""
        return tuple(finding for finding in self.findings if finding.severity == "error")


def plan_own(text: str, report: Report, *, file: str | None = None) -> OwnPlan:
    """Check a dataset TOML for the trainer and return the groups it makes of the set.

    Directories stand for the set's own folders, whatever they name; caches get new ones; the
    frame rate is that of the stored clips.

    Args:
        text: The TOML.
        report: Of the set as it will be used.
        file: The TOML's name, for the findings.
    """
    remarks = Remarks(file)
    tables = read_tables(text, remarks)
    if remarks.has_errors:
        return OwnPlan(GroupPlan((), ()), remarks.found)
    groups = [
        group
        for number, table in enumerate(tables, start=1)
        for group in _groups(number, table, report, remarks)
    ]
    _not_too_many(groups, report, remarks)
    if remarks.has_errors:
        return OwnPlan(GroupPlan((), ()), remarks.found)
    plan = plan_of(groups, report.samples)
    for group in plan.groups:
        _mixed_batches(group, remarks)
    _dropped(plan, report, remarks)
    return OwnPlan(GroupPlan((), ()) if remarks.has_errors else plan, remarks.found)


def _groups(number: int, table: Table, report: Report, remarks: Remarks) -> list[Group]:
    at = where(number)
    _note_paths(at, table, remarks)
    resolution = table.get("resolution", _DEFAULT_RESOLUTION)
    width, height = [resolution] * 2 if isinstance(resolution, int) else resolution
    is_bucketed = table.get("enable_bucket", False)
    group = Group(
        name=f"{number}-images",
        folder="images",
        resolution=(width, height),
        batch_size=table.get("batch_size", 1),
        num_repeats=table.get("num_repeats", 1),
        enable_bucket=is_bucketed,
        bucket_no_upscale=table.get("bucket_no_upscale", False),
    )
    if section_of(table) == "image":
        _note_buckets(at, group, remarks)
        return [group]
    extract = _extract(at, table, remarks)
    found: list[Group] = []
    for folder, rate in sorted({(clip.folder, clip.stored_fps) for clip in report.clips}):
        _note_rate(at, table.get("source_fps"), rate, remarks)
        name = f"{number}-clips{folder.removeprefix('videos')}"
        found.append(replace(group, name=name, folder=folder, extract=extract, source_fps=rate))
    return found or [replace(group, name=f"{number}-clips", folder="videos", extract=extract)]


def _extract(at: str, table: Table, remarks: Remarks) -> Extract:
    given = sorted(set(table.get("target_frames", [1])))
    targets = sorted({longest_4n1(target) for target in given})
    extract = Extract(
        mode=table.get("frame_extraction", "head"),
        target_frames=tuple(targets),
        stride=table.get("frame_stride", 1),
        sample=table.get("frame_sample", 1),
        max_frames=table.get("max_frames", 129),
    )
    if targets != given and extract.mode != "full":
        remarks.changed(
            "toml-frames-not-4n1",
            f"{at}: target_frames {given} are not all 4N+1, as Wan takes them.",
            f"Rounded down to {targets}, as the trainer does.",
        )
    if extract.mode == "uniform" and extract.sample == 1:
        remarks.changed(
            "toml-uniform-of-one",
            f"{at}: uniform with a single frame_sample is the same as head.",
            "Written as head; set frame_sample = 2 or more for windows over the whole clip.",
        )
        return replace(extract, mode="head")
    return extract


def _note_paths(at: str, table: Table, remarks: Remarks) -> None:
    if "cache_directory" in table:
        remarks.changed(
            "toml-cache-directory",
            f"{at} names a cache directory of another machine.",
            "Replaced; every dataset gets a cache of its own.",
        )
    extension = table.get("caption_extension")
    if extension != ".txt":
        was = "no caption_extension" if extension is None else f"caption_extension {extension!r}"
        remarks.changed(
            "toml-caption-extension", f"{at} has {was}.", 'Set to ".txt", as stored here.'
        )


def _note_buckets(at: str, group: Group, remarks: Remarks) -> None:
    width, height = group.resolution
    if not group.enable_bucket and (width % 16 or height % 16):
        remarks.error(
            "toml-size-not-16",
            f"{at}: without buckets images become {width} x {height}, and the model takes "
            "multiples of 16 only.",
            "Set enable_bucket = true, or a resolution of multiples of 16.",
        )
    elif not group.enable_bucket:
        remarks.warning(
            "toml-no-buckets",
            f"{at}: without enable_bucket every image is cropped to {width} x {height}.",
            "Set enable_bucket = true to keep the formats of the images.",
        )
    elif not group.bucket_no_upscale:
        remarks.warning(
            "toml-upscales",
            f"{at}: without bucket_no_upscale small images are enlarged, and their softness "
            "is learned.",
            "Set bucket_no_upscale = true.",
        )


def _note_rate(at: str, given: float | None, stored: float, remarks: Remarks) -> None:
    if given == stored:
        return
    if given is None:
        cause = f"{at} has no source_fps, without which the trainer ignores frame rates."
    else:
        cause = f"{at} says source_fps = {given:g}, but the stored clips have {stored:g}."
    remarks.changed("toml-source-fps", cause, f"Set to {stored:g}, the clips' own rate.")


def _not_too_many(groups: Iterable[Group], report: Report, remarks: Remarks) -> None:
    count = 0
    for group in groups:
        mine = [sample for sample in report.samples if sample.folder == group.folder]
        for sample in mine:
            extract = group.extract
            count += len(windows(sample.frames_16fps or 0, extract)) if extract else 1
            if count > _MANY_ITEMS:
                remarks.error(
                    "toml-too-many-items",
                    f"It makes more than {_MANY_ITEMS:,} items of this set.",
                    "Raise frame_stride or target_frames, or use uniform.",
                )
                return


def _mixed_batches(group: Group, remarks: Remarks) -> None:
    by_frames: dict[int, set[tuple[int, int]]] = {}
    for width, height, frames in group.buckets:
        by_frames.setdefault(frames, set()).add((width, height))
    is_mixed = any(len(sizes) > 1 for sizes in by_frames.values())
    if is_mixed and group.batch_size > 1 and not group.enable_bucket:
        remarks.error(
            "toml-mixed-batch",
            f"The group {group.name} has batch_size {group.batch_size} without enable_bucket, and "
            "its clips differ in format: the trainer would stop at the first mixed batch.",
            "Set enable_bucket = true, or batch_size = 1.",
        )


def _dropped(plan: GroupPlan, report: Report, remarks: Remarks) -> None:
    used = {item.sample_name for item in plan.items}
    unused: list[Sample] = [sample for sample in report.samples if sample.name not in used]
    if not plan.items:
        why = " ".join(plan.left_out)
        remarks.error(
            "toml-nothing-left",
            f"It yields nothing to train on. {why}".strip(),
            "Lower target_frames, or add a dataset for what the set holds.",
        )
    elif unused:
        names = ", ".join(sample.name for sample in unused[:8])
        more = f" and {len(unused) - 8} more" if len(unused) > 8 else ""
        remarks.warning(
            "toml-samples-dropped",
            f"{len(unused)} of {len(report.samples)} samples yield no item: {names}{more}.",
            "Lower target_frames to what these clips have, or use frame_extraction = "
            '"full"; add a dataset for a kind that has none.',
        )
