"""The plan counts what musubi-tuner will train on; the TOML is the guide's."""

import tomllib
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.training.dataset.samples import GUIDE, clip, image, report
from training.dataset.config.buckets import bucket_of
from training.dataset.config.frame_windows import longest_4n1
from training.dataset.config.group import Item, tokens
from training.dataset.config.guide_groups import IMAGES, plan_groups, suits
from training.dataset.config.toml_file import render_toml
from training.dataset.report import Sample


def rendered(*samples: Sample) -> dict[str, Any]:
    plan = plan_groups(report(*samples))
    text = render_toml(plan, media=PurePosixPath("/runs/set"), caches=PurePosixPath("/c"))
    return tomllib.loads(text)


def test_a_guide_shaped_set_gives_the_guides_toml_except_paths_and_source_fps() -> None:
    ours, guides = rendered(image(), clip(81)), tomllib.loads(GUIDE)

    assert [group.pop("source_fps", None) for group in ours["datasets"]] == [None, 16.0, 16.0]
    for group in (*ours["datasets"], *guides["datasets"]):
        for key in ("image_directory", "video_directory", "cache_directory"):
            group.pop(key, None)
    assert ours == guides
    assert [list(group) for group in ours["datasets"]] == [list(g) for g in guides["datasets"]]


def test_paths_are_the_repaired_sets_and_caches_are_apart() -> None:
    images, head, uniform = rendered(image(), clip(81))["datasets"]

    assert images["image_directory"] == "/runs/set/images"
    assert head["video_directory"] == uniform["video_directory"] == "/runs/set/videos"
    caches = [group["cache_directory"] for group in (images, head, uniform)]
    assert caches == ["/c/images", "/c/clips-head", "/c/clips-uniform"]


def test_source_fps_is_a_float_in_the_toml() -> None:
    text = render_toml(
        plan_groups(report(clip(81))), media=PurePosixPath("/m"), caches=PurePosixPath("/c")
    )

    assert text.count("source_fps = 16.0") == 2


def test_head_takes_one_item_for_each_target_and_uniform_its_windows() -> None:
    plan = plan_groups(report(image(), clip(81)))

    images, head, uniform = plan.groups
    assert images.items == (Item("images/000.png", 1, 960, 960),)
    assert head.items == (
        Item("videos/001.mp4", 1, 1280, 720),
        Item("videos/001.mp4", 21, 1280, 720),
    )
    assert uniform.items == (
        Item("videos/001.mp4", 45, 960, 544, 0),
        Item("videos/001.mp4", 45, 960, 544, 36),
    )
    assert plan.left_out == ()


def test_two_windows_at_the_same_place_are_one_item() -> None:
    uniform = plan_groups(report(clip(45))).groups[-1]

    assert [item.start for item in uniform.items] == [0]


def test_groups_without_items_are_left_out_by_name() -> None:
    plan = plan_groups(report(clip(21)))

    assert [group.name for group in plan.groups] == ["clips-head"]
    assert plan.left_out == (
        "The dataset has no images.",
        "The group clips-uniform is left out: no clip has 45 frames at 16 fps; the longest has 21.",
    )


def test_clips_too_short_for_a_target_are_named() -> None:
    plan = plan_groups(report(image(), clip(81, "a"), clip(17, "b"), clip(41, "c")))

    assert plan.left_out == (
        "videos/b.mp4, videos/c.mp4 are too short for the 45 frames (2.8 s) of group "
        "clips-uniform.",
    )


def test_clips_under_21_frames_are_used_at_their_own_length() -> None:
    plan = plan_groups(report(clip(81, "a"), clip(17, "b"), clip(5, "c"), clip(1, "d")))

    still, full, uniform = plan.groups
    assert [item.frames for item in still.items] == [1, 1, 1, 1]
    assert [(item.sample_name, item.frames) for item in full.items] == [
        ("videos/a.mp4", 21), ("videos/b.mp4", 17), ("videos/c.mp4", 5), ("videos/d.mp4", 1),
    ]  # fmt: skip
    assert {item.sample_name for item in uniform.items} == {"videos/a.mp4"}
    written = rendered(clip(81, "a"), clip(17, "b"))["datasets"][1]
    assert (written["frame_extraction"], written["max_frames"]) == ("full", 21)
    assert "target_frames" not in written


def test_a_480p_model_gets_no_group_above_832_by_480() -> None:
    plan = plan_groups(report(image(), clip(81)), "480p")

    assert [group.resolution for group in plan.groups] == [(480, 832), (832, 480), (832, 480)]
    assert [group.target_frames for group in plan.groups] == [(), (1, 21), (45,)]
    assert max(tokens(item) for item in plan.items) == 18_720


@pytest.mark.parametrize(
    ("max_frames", "targets"),
    [(45, [(1, 21), (45,)]), (44, [(1, 21), (41,)]), (21, [(1, 21)]), (12, [(1, 9)]), (1, [(1,)])],
)
def test_max_frames_shortens_what_is_longer(max_frames: int, targets: list[object]) -> None:
    plan = plan_groups(report(clip(81)), max_frames=max_frames)

    assert [group.target_frames for group in plan.groups] == targets


def test_without_single_frames_only_longer_items_of_clips_are_left() -> None:
    plan = plan_groups(report(image(), clip(81)), has_single_frames=False)

    assert [(group.name, group.target_frames) for group in plan.groups] == [
        ("clips-head", (21,)), ("clips-uniform", (45,)),
    ]  # fmt: skip
    assert [item.frames for item in plan.items] == [21, 45, 45]
    assert plan.left_out == ("1 image is left out, because only clips are trained on.",)
    text = render_toml(plan, media=PurePosixPath("/m"), caches=PurePosixPath("/c"))
    written = tomllib.loads(text)["datasets"]
    assert [group["target_frames"] for group in written] == [[21], [45]]


def test_without_single_frames_short_clips_keep_their_own_length() -> None:
    plan = plan_groups(report(clip(81, "a"), clip(17, "b")), has_single_frames=False)

    assert [group.name for group in plan.groups] == ["clips-full", "clips-uniform"]
    assert [item.frames for item in plan.items] == [21, 17, 45, 45]


@given(st.lists(st.integers(1, 140), min_size=1, max_size=8), st.integers(1, 129))
def test_every_clip_yields_an_item_as_long_as_it_can_be(lengths: list[int], cap: int) -> None:
    clips = [clip(longest_4n1(frames), str(n)) for n, frames in enumerate(lengths)]

    plan = plan_groups(report(*clips), max_frames=cap)

    for sample in clips:
        mine = [item.frames for item in plan.items if item.sample_name == sample.name]
        assert max(mine) >= min(longest_4n1(min(21, cap)), sample.frames_16fps or 0)


def test_a_step_is_a_batch_and_repeats_fill_batches() -> None:
    group = replace(IMAGES, batch_size=4, num_repeats=3)
    samples = [image("a"), image("b"), image("c", 1280, 720)]

    filled = group.filled(samples)

    # musubi repeats inside the bucket: 6 of one size, 3 of the other.
    assert filled.buckets == {(960, 960, 1): 2, (1280, 720, 1): 1}
    assert filled.batches == 2 + 1


def test_images_alone_leave_both_groups_of_clips_out() -> None:
    plan = plan_groups(report(image()))

    assert plan.left_out == ("The dataset has no clips.",)


# Expected values from BucketSelector of musubi-tuner, commit 30c658c, for Wan.
@pytest.mark.parametrize(
    ("size", "resolution", "no_upscale", "expected"),
    [
        ((1280, 720), (1280, 720), False, (1280, 720)),
        ((720, 1280), (1280, 720), False, (720, 1280)),
        ((512, 512), (1280, 720), False, (960, 960)),
        ((640, 480), (1280, 720), False, (1104, 832)),
        ((1024, 300), (1280, 720), False, (1792, 512)),
        ((1280, 720), (960, 544), False, (960, 544)),
        ((320, 192), (960, 544), False, (928, 560)),
        ((333, 207), (720, 1280), True, (320, 192)),
        ((4000, 3000), (720, 1280), True, (1104, 832)),
    ],
)
def test_buckets_are_those_of_musubi(
    size: tuple[int, int],
    resolution: tuple[int, int],
    no_upscale: bool,
    expected: tuple[int, int],
) -> None:
    assert bucket_of(size, resolution, no_upscale=no_upscale) == expected


@given(st.integers(64, 4000), st.integers(64, 4000))
def test_buckets_divide_by_16_and_keep_the_area(width: int, height: int) -> None:
    bucket = bucket_of((width, height), (960, 544), no_upscale=False)

    assert bucket[0] % 16 == bucket[1] % 16 == 0
    assert 0.9 * 960 * 544 < bucket[0] * bucket[1] <= 960 * 544


def test_tokens_are_latent_frames_times_patches() -> None:
    assert tokens(Item("a", 1, 1280, 720)) == 80 * 45
    assert tokens(Item("a", 21, 1280, 720)) == 6 * 80 * 45
    assert tokens(Item("a", 45, 960, 544)) == 12 * 60 * 34


def test_images_alone_do_not_suit_an_image_to_video_model() -> None:
    reason = suits(report(image()), needs_video=True)

    assert reason is not None
    assert "clips" in reason
    assert suits(report(image()), needs_video=False) is None
    assert suits(report(image(), clip(5)), needs_video=True) is None
    assert "5 frames" in (suits(report(clip(1)), needs_video=True) or "")
    assert suits(report(), needs_video=False) is not None
