"""The plan keeps as much for the backward pass as the free memory allows."""

from dataclasses import replace

import pytest

from training.musubi.launcher.fast.graph import Kept
from training.musubi.launcher.fast.plan import GIB, Plan, Seen, StepSizes, bytes_kept, choose, less

VIDEO = StepSizes(tokens=21_600, width=5120, ffn_width=13_824, blocks=40)
FRAME = replace(VIDEO, tokens=3_600)


def peak(plan: Plan, sizes: StepSizes) -> int:
    """Return the most that is kept while a block is computed again, as measured."""
    again = 1.3 * bytes_kept("everything", sizes)
    rest = sum(bytes_kept(plan.kept(index), sizes) for index in range(sizes.blocks - plan.more))
    working = again if plan.more < sizes.blocks else 0
    return int(max(plan.kept_bytes, rest + working))


def test_a_single_frame_recomputes_nothing_on_80_gib() -> None:
    plan = choose(FRAME, 62 * GIB)

    assert plan is not None
    assert {plan.kept(index) for index in range(40)} == {"everything"}


@pytest.mark.parametrize("free_gib", [45, 50, 62, 80, 100, 120, 200])
def test_a_plan_fits_and_uses_at_most_two_graphs(free_gib: int) -> None:
    plan = choose(VIDEO, free_gib * GIB)

    assert plan is not None
    kept: list[Kept] = [plan.kept(index) for index in range(VIDEO.blocks)]
    assert len(set(kept)) <= 2
    assert sum(bytes_kept(each, VIDEO) for each in kept) == plan.kept_bytes
    assert peak(plan, VIDEO) < free_gib * GIB


def test_the_blocks_that_the_backward_pass_begins_with_keep_most() -> None:
    plan = choose(VIDEO, 100 * GIB)

    assert plan is not None
    assert 0 < plan.more < 40
    assert (plan.kept(0), plan.kept(39)) == ("ffn", "everything")


def test_more_memory_never_keeps_less() -> None:
    sizes = [plan.kept_bytes for gib in range(44, 140) if (plan := choose(VIDEO, gib * GIB))]

    assert sizes == sorted(sizes)
    assert len(set(sizes)) > 20


def test_what_was_seen_counts_more_than_the_estimate() -> None:
    estimated = choose(VIDEO, 60 * GIB)
    seen = Seen(kept={"attention": GIB // 2, "ffn": GIB, "everything": 3 * GIB}, working_bytes=GIB)

    corrected = choose(VIDEO, 60 * GIB, seen)

    assert estimated is not None
    assert corrected is not None
    assert (corrected.least, corrected.most, corrected.more) == ("ffn", "everything", 9)
    assert corrected.kept_bytes == (31 + 27) * GIB


def test_a_plan_that_did_not_fit_is_followed_by_ever_smaller_ones() -> None:
    plan, sizes = choose(VIDEO, 120 * GIB), list[int]()
    while plan is not None:
        sizes.append(plan.kept_bytes)
        plan = less(plan, VIDEO)

    assert sizes == sorted(set(sizes), reverse=True)
    assert sizes[-1] == 40 * bytes_kept("attention", VIDEO)


def test_fp8_products_and_the_first_frame_keep_more() -> None:
    usual = bytes_kept("everything", VIDEO)

    assert bytes_kept("everything", replace(VIDEO, is_fp8=True)) > usual
    assert bytes_kept("attention", replace(VIDEO, attentions=3)) > bytes_kept("attention", VIDEO)


def test_too_little_memory_has_no_plan() -> None:
    assert choose(VIDEO, 20 * GIB) is None


def test_the_log_line_says_what_is_kept() -> None:
    assert str(choose(FRAME, 62 * GIB)) == "all 40 blocks keep everything (27.5 GiB)"


def test_copies_of_the_weights_are_kept_only_beside_everything_else() -> None:
    sizes = replace(FRAME, weights_bytes=26 * GIB)
    plans = [choose(sizes, gib * GIB) for gib in range(30, 100)]

    wide = [plan for plan in plans if plan is not None and plan.is_wide]
    assert 0 < len(wide) < len(plans)
    assert all((plan.kept(0), plan.more) == ("everything", 40) for plan in wide)
    assert wide == plans[-len(wide) :]
    assert not any(plan is not None and plan.is_wide for plan in [choose(FRAME, 100 * GIB)])


def test_copies_of_the_weights_are_given_up_first() -> None:
    plan = choose(replace(FRAME, weights_bytes=26 * GIB), 100 * GIB)
    assert plan is not None

    lower = less(plan, FRAME)

    assert str(plan) == f"{lower}, with 16-bit copies of the weights"
