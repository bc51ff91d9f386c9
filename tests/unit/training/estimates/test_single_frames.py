"""The share of single frames in an I2V run, and what leaving them out saves."""

import pytest

from tests.specs import spec
from tests.unit.training.dataset.samples import clip, image, report
from training.catalogue.models import MODELS, find_model
from training.dataset.config.guide_groups import plan_groups
from training.estimates.prices import listed_prices
from training.estimates.single_frames import savings, single_frames
from training.estimates.steps_per_model import predicted_single_frames
from training.estimates.time_and_cost import estimate

I2V = "wan21-i2v-720p"
SET = report(image("a"), image("b"), clip(81))
GROUPS = plan_groups(SET)


def test_half_of_the_steps_are_single_frames_but_a_tenth_of_the_time() -> None:
    found = single_frames(find_model(I2V), GROUPS)

    assert found is not None
    assert (found.steps, found.all_steps) == (3, 6)
    # Measured: 1.20 s for a frame of 3,600 tokens, 8.46 s for 21 frames, 9.82 s for 45 frames.
    assert found.seconds_per_epoch == pytest.approx(3 * 1.20, rel=0.01)
    assert found.time_share == pytest.approx(3.60 / (3.60 + 8.46 + 2 * 9.82), rel=0.01)


@pytest.mark.parametrize("name", [model.name for model in MODELS if not model.i2v])
def test_a_t2v_model_learns_from_single_frames(name: str) -> None:
    assert single_frames(find_model(name), GROUPS) is None


def test_without_single_frames_there_is_no_remark() -> None:
    groups = plan_groups(SET, has_single_frames=False)

    assert single_frames(find_model(I2V), groups) is None


def test_the_saving_is_the_difference_of_the_two_estimates() -> None:
    model, run, prices = find_model(I2V), spec(I2V), listed_prices()
    found = single_frames(model, GROUPS)
    assert found is not None

    saved = savings(found, model, run.experts, gpu=None, prices=prices)

    all_items, clips = (
        estimate(model, groups, run.experts, gpu=None, prices=prices)
        for groups in (GROUPS, plan_groups(SET, has_single_frames=False))
    )
    caching = 6.0 * 3  # seconds for the three items that need no cache
    assert all_items.seconds - clips.seconds == pytest.approx(saved.seconds + caching)
    assert saved.seconds == pytest.approx(50 * found.seconds_per_epoch)


def test_savings_add_up_money_and_take_the_longer_time() -> None:
    model, prices = find_model("wan22-i2v-vanilla"), listed_prices()
    found = single_frames(model, GROUPS)
    assert found is not None
    both = spec(model.name, epochs="high=10 low=20")
    one = spec(model.name, expert="low", epochs="20")

    saved = savings(found, model, both.experts, gpu=None, prices=prices)
    low = savings(found, model, one.experts, gpu=None, prices=prices)

    assert saved.seconds == low.seconds
    assert saved.usd == pytest.approx(1.5 * low.usd)


def test_the_report_predicts_the_share_for_i2v_models_that_suit() -> None:
    assert set(predicted_single_frames(SET)) == {m.name for m in MODELS if m.i2v}
    assert predicted_single_frames(report(image())) == {}
