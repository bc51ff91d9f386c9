"""Which setting is suggested after the GPU ran out of memory, and its effect."""

from dataclasses import replace

import pytest

from tests.specs import report
from training.dataset.config.group import GroupPlan, tokens
from training.dataset.config.guide_groups import plan_groups
from training.estimates.gpu_memory import USUAL_SHAPES, MemoryUse, TrainingShape, lighter, shapes_of
from training.remedies import FewerFrames, LowerResolution, SwapBlocks, UseFp8, keeps_items


def peak(groups: GroupPlan) -> int:
    return max(tokens(item) for item in groups.items)


def test_suggestions_go_from_the_mildest_to_the_hardest() -> None:
    use = MemoryUse(shapes=shapes_of(plan_groups(report())), fp8=False)
    suggested: list[object] = []

    while (found := lighter(use)) is not None:
        suggested.append(found)
        match found:
            case FewerFrames():
                groups = plan_groups(report(), max_frames=found.max_frames)
                use = replace(use, shapes=shapes_of(groups))
            case LowerResolution():
                groups = plan_groups(report(), max_frames=13, resolution=found.resolution)
                use = replace(use, shapes=shapes_of(groups))
            case SwapBlocks():
                use = replace(use, swapped=found.blocks)
            case _:
                use = replace(use, fp8=True)

    assert suggested == [
        FewerFrames(max_frames=13),
        LowerResolution(resolution="480p"),
        SwapBlocks(blocks=20),
        SwapBlocks(blocks=39),
        UseFp8(),
    ]


def test_a_suggestion_of_smaller_items_takes_a_third_off_the_largest() -> None:
    before = peak(plan_groups(report()))

    fewer = plan_groups(report(), max_frames=13)
    lower = plan_groups(report(), max_frames=13, resolution="480p")

    assert peak(fewer) <= before * 2 / 3
    assert peak(lower) <= peak(fewer) * 2 / 3
    assert max(item.frames for item in fewer.items) == 13
    assert {group.resolution for group in lower.groups} == {(480, 832), (832, 480)}


def test_a_limit_above_the_largest_item_changes_nothing() -> None:
    limited = plan_groups(report(), max_frames=81, resolution="720p")

    assert limited.groups == plan_groups(report()).groups


def test_caching_has_no_blocks_to_swap() -> None:
    small = MemoryUse(shapes=(TrainingShape((832, 480), 9),), swappable=0)

    assert lighter(small) is None
    assert lighter(replace(small, swappable=29)) == SwapBlocks(blocks=15)


def test_the_usual_shapes_are_the_guides() -> None:
    assert max(shape.frames for shape in USUAL_SHAPES) == 45


@pytest.mark.parametrize(
    ("suggestion", "expected"),
    [(FewerFrames(max_frames=13), False), (SwapBlocks(blocks=20), True), (UseFp8(), True)],
)
def test_training_continues_only_with_the_same_items(
    suggestion: FewerFrames | SwapBlocks | UseFp8, expected: bool
) -> None:
    assert keeps_items(suggestion) is expected
