"""A plan explains unusual sizes, and what `max_frames` changes."""

import pytest

from tests.unit.training.dataset.samples import clip, image, report
from training.dataset.config.guide_groups import plan_groups
from training.dataset.config.user_toml import plan_user_toml

LARGE = image(width=1280, height=720)
SMALL = [image(name, width=512, height=512) for name in ("a", "b")]


def test_images_far_below_the_models_size_are_named() -> None:
    set_of_three = report(LARGE, *SMALL)

    large, small = plan_groups(set_of_three, "720p").remarks, plan_groups(set_of_three, "480p")

    assert large == (
        "2 images train at their own size, less than half the area of 720x1280: images are never "
        "enlarged, and the LoRA learns less detail from small ones.",
    )
    assert small.remarks == ()


def test_a_users_toml_gets_the_same_remark_unless_it_crops_every_image() -> None:
    text = "[general]\nresolution = [1280, 720]\n{}[[datasets]]\nimage_directory = 'i'\n"

    kept = plan_user_toml(text.format("enable_bucket = true\nbucket_no_upscale = true\n"),
                          report(*SMALL)).plan  # fmt: skip
    grown = plan_user_toml(text.format("enable_bucket = true\n"), report(*SMALL)).plan

    assert kept.remarks[0].startswith("2 images train at their own size")
    assert grown.remarks == ()


def test_different_sizes_are_explained() -> None:
    assert plan_groups(report(LARGE, clip(81)), "720p").remarks == (
        "Items differ in size: the area of 1280x720 for items of 21 frames, but only 960x544 for "
        "items of 45 frames, so that more frames fit the GPU. Every image and clip keeps its "
        "shape.",
    )
    assert plan_groups(report(LARGE, clip(81)), "480p").remarks == ()
    assert plan_groups(report(LARGE, clip(21)), "720p").remarks == ()


@pytest.mark.parametrize(
    ("frames", "limit", "said"),
    [
        (81, 45, ["max-frames 45 changes nothing: the longest item has 45 frames."]),
        (33, 81, ["max-frames 81 changes nothing: the longest item has 21 frames."]),
        (81, 33, ["max-frames 33: 2 items of 45 frames are cut to 33 frames."]),
        (81, 30, ["max-frames 30: 2 items of 45 frames are cut to 29 frames."]),
        (81, 21, ["max-frames 21: 2 items of 45 frames are left out."]),
        (
            81,
            17,
            [
                "max-frames 17: 2 items of 45 frames are left out.",
                "max-frames 17: 1 item of 21 frames is cut to 17 frames.",
            ],
        ),
        (
            81,
            4,
            [
                "max-frames 4: 2 items of 45 frames are left out.",
                "max-frames 4: 1 item of 21 frames is left out.",
            ],
        ),
        (13, 9, ["max-frames 9: 1 item of 13 frames is cut to 9 frames."]),
    ],
)
def test_a_limit_on_frames_says_what_it_changes(frames: int, limit: int, said: list[str]) -> None:
    plan = plan_groups(report(clip(frames)), "480p", limit)

    assert list(plan.remarks) == said
