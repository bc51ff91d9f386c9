"""The GPU that a run gets on Modal: another one if the first is not free, unless it was chosen."""

from datetime import timedelta

from bot.messages.runs.card import run_card
from tests.wire.modal.installation import GUILD, Installation
from tests.wire.modal.invariants import check
from training.runs.state import RunStatus
from training.vocabulary import StageKey

TRAIN = StageKey("train", "main")


def test_a_fallback_is_recorded_and_the_card_names_it_and_what_it_cost(
    installation: Installation,
) -> None:
    installation.loopback.settings.unavailable_gpus = {"A10"}

    run = installation.start(name="fallback")
    found = installation.finish(run)
    installation.loopback.settings.unavailable_gpus = set()

    view = installation.runs.view(GUILD, run)
    assert found.status is RunStatus.SUCCEEDED
    assert {found.stage(key).gpu for key in (StageKey("cache"), TRAIN)} == {"L4"}
    assert view.summary(view.spec.created_at).experts[0].gpu == "L4"
    assert view.prices is not None
    assert found.ended_at is not None
    assert " · about $0.0" in run_card(view, now=found.ended_at + timedelta(days=1)).footer
    check(installation, run)


def test_a_chosen_gpu_is_waited_for_and_not_replaced_by_a_larger_one(
    installation: Installation,
) -> None:
    loopback = installation.loopback
    loopback.settings.unavailable_gpus = {"H100"}
    loopback.settings.upgraded_gpus = {"H100": "H200"}

    run = installation.start(name="chosen", gpu="H100")
    loopback.wait_for(lambda: loopback.plane.gpus.waiting)
    assert not loopback.plane.gpus.held()
    loopback.settings.unavailable_gpus = set()
    found = installation.finish(run)
    loopback.settings.upgraded_gpus = {}

    assert found.status is RunStatus.SUCCEEDED
    assert {found.stage(key).gpu for key in (StageKey("cache"), TRAIN)} <= {"H100", None}
    assert found.stage(TRAIN).gpu == "H100"
    assert loopback.gpu_log[-1].function == "train_chosen"
    check(installation, run)
