"""The plan of a run: settings, findings, time, cost on each GPU, and why it is asked about."""

from dataclasses import replace
from datetime import timedelta

import pytest

from bot.messages.card import Card, Colour
from bot.messages.figures import moment
from bot.messages.options import in_chat
from bot.messages.runs.card import run_card
from bot.messages.runs.plan import asked_card, dismissed_card, started_card
from bot.messages.runs.plan_costs import cost_lines, price_lines, single_frames_text
from bot.messages.runs.wording import REHEARSAL
from tests.specs import groups, report
from tests.unit.bot.messages.plan_examples import a_plan, estimated
from tests.unit.bot.messages.run_examples import NOW, a_spec, a_view
from training.catalogue.models import MODELS
from training.dataset.findings.findings import whole_set
from training.dataset.report import Finding
from training.estimates.time_and_cost import Estimate
from training.operations.drafts import Draft
from training.operations.run_drafts import Requester
from training.operations.run_plans import INTERRUPTIONS, RunPlan
from training.ports import GpuLine
from training.runs.hyperparameters import ItemSettings
from training.runs.spec import StartingPoint, TrainRequest

PAIR, ONE = "wan22-i2v-lightning", "wan21-t2v-14b"
TRIGGER = Finding(
    code="trigger-missing",
    severity="warning",
    file="a.png",
    cause="a.png does not have the trigger word in its caption.",
    fix="Add it.",
    repaired=False,
)


def asked(plan: RunPlan, *notes: str, limit_usd: float = 2.0) -> Card:
    return asked_card(plan, NOW + timedelta(hours=1), limit_usd, notes)


def field(card: Card, name: str) -> str:
    return next(one.value for one in card.fields if one.name.startswith(name))


def names(card: Card) -> list[str]:
    return [one.name for one in card.fields]


def test_it_shows_the_settings_of_each_expert_its_steps_time_and_cost() -> None:
    spec = a_spec(settings={"alpha": "high=4 low=42"})

    card = started_card(a_plan(spec, estimated(7500, 13.164, "H100")))

    assert "rank 8 · **alpha 4** · learning rate 1e-4" in card.text
    assert "rank 42 · learning rate 8e-5" in card.text
    assert "50 epochs of 18 steps: 900 steps in total" in card.text
    assert "Lightning will be merged at strength 1" in card.text
    assert (
        "About 2 h 5 min and $13.16 on an H100 (measured steps; price list of 2026-07-01)."
        in card.text
    )
    assert REHEARSAL not in card.text


@pytest.mark.parametrize(
    ("settings", "shown"),
    [
        ({"rank": "high=16"}, "**rank 16**"),
        ({"learning_rate": "high=2e-4"}, "**learning rate 2e-4**"),
        ({"epochs": "20"}, "**20 epochs** of 18 steps"),
        ({"save_every": "2"}, "a checkpoint every **2 epochs**"),
        ({"seed": "7"}, "**seed 7**"),
        ({"scheduler": "cosine"}, "**cosine** · adamw8bit"),
        ({"scheduler_power": "3"}, "polynomial · **power 3**"),
        ({"min_lr_ratio": "0.1"}, "**min-lr-ratio 0.1**"),
        ({"optimizer": "adafactor"}, "**adafactor**"),
        ({"flow_shift": "12"}, "**flow shift 12**"),
        ({"fp8": "no"}, "**fp8 off**"),
        ({"fast": "16bit"}, "**compiled steps (16bit)**"),
        ({"loraplus_lr_ratio": "4"}, "**LoRA+ ratio 4**"),
        ({"blocks_to_swap": "20"}, "**20 blocks in main memory**"),
        ({"force_v2_1_time_embedding": "yes"}, "**Wan 2.1 time embedding**"),
        ({"lightning_strength": "0.8"}, "merged at **strength 0.8**"),
    ],
)
def test_what_differs_from_the_defaults_is_bold(settings: dict[str, str], shown: str) -> None:
    usual = started_card(a_plan(a_spec(PAIR)))
    changed = started_card(a_plan(a_spec(PAIR, settings=settings)))

    assert shown in field(changed, "Settings, high-noise expert")
    assert "**" not in field(usual, "Settings, high-noise expert")
    assert "**" not in field(usual, "Settings, low-noise expert")


def test_open_findings_of_the_dataset_are_seen_and_repaired_ones_are_not() -> None:
    done = TRIGGER.model_copy(update={"cause": "b.png is rotated.", "repaired": True})
    told = TRIGGER.model_copy(update={"cause": "c.mp4 has sound.", "severity": "info"})
    found = report().model_copy(update={"findings": (TRIGGER, done, told)})

    card = asked(a_plan(a_spec(PAIR), report=found))

    assert "does not have the trigger word" in field(card, "Open findings in annika@2")
    assert "b.png" not in card.text
    assert "c.mp4" not in card.text
    assert card.colour == Colour.WARNING
    assert "its dataset has open findings" in card.description
    assert "Open findings" not in asked(a_plan(a_spec(PAIR))).text


def test_many_findings_are_counted() -> None:
    many = tuple(
        whole_set("too-few-samples", f"The {number} samples " + "x" * 200) for number in range(30)
    )
    found = report().model_copy(update={"findings": many})

    value = field(asked(a_plan(a_spec(PAIR), report=found)), "Open findings")

    assert value.splitlines()[-1].startswith("- and ")


def test_the_price_list_marks_the_cheapest_and_the_fastest_of_those_measured() -> None:
    listed = (
        estimated(2_000, 5.0, "B200"),
        estimated(7_000, 9.0, "H200"),
        estimated(7_500, 8.0, "H100"),
    )

    lines = field(asked(a_plan(a_spec(ONE), listed[2], price_list=listed)), "Cost on each GPU")

    assert lines.splitlines() == [
        "B200 · $5.00 · 33 min · unmeasured, rough",
        "H200 · $9.00 · 1 h 57 min · fastest of those measured",
        "H100 · $8.00 · 2 h 5 min · cheapest of those measured · this plan",
        "Too little memory: A100-80GB, A100-40GB, L40S, A10 and L4.",
    ]


@pytest.mark.parametrize("model", [model.name for model in MODELS])
@pytest.mark.parametrize("fast", ["off", "16bit"])
def test_what_was_not_measured_says_so_and_is_never_cheapest_or_fastest(
    model: str, fast: str
) -> None:
    plan = a_plan(a_spec(model, settings={"fast": fast}))

    for one, line in zip(plan.price_list, price_lines(plan), strict=False):
        assert line.startswith(one.gpu.name)
        assert ("unmeasured, rough" in line) != one.is_measured
        assert one.is_measured or ("cheapest" not in line and "fastest" not in line)
    first, *others = cost_lines(plan, in_chat)
    assert ("unmeasured, rough" in first) != plan.estimate.is_measured
    rough = [one for one in plan.fallbacks if not one.is_measured]
    assert " ".join(others).count("unmeasured, rough") == len(rough) + (not plan.worst.is_measured)
    frames = single_frames_text(plan, in_chat)
    assert not frames or ("unmeasured, rough" in frames) != plan.estimate.is_measured


def test_a_single_measured_gpu_is_neither_cheapest_nor_fastest() -> None:
    listed = (estimated(7_500, 8.0, "H100"), estimated(9_000, 9.0, "A100-80GB"))

    lines = field(asked(a_plan(a_spec(ONE), listed[0], price_list=listed)), "Cost on each GPU")

    assert "cheapest" not in lines
    assert "fastest" not in lines


def test_one_gpu_can_be_both() -> None:
    listed = (estimated(7_000, 8.0, "H200"), estimated(7_500, 9.0, "H100"))

    lines = field(asked(a_plan(a_spec(ONE), listed[1], price_list=listed)), "Cost on each GPU")

    assert "H200 · $8.00 · 1 h 57 min · cheapest and fastest of those measured" in lines


def test_it_says_whether_steps_are_measured_and_prices_are_live() -> None:
    listed = started_card(a_plan(a_spec(), estimated(7500, 13.164, "A10")))
    live = started_card(a_plan(a_spec(), estimated(7500, 13.164, "H200", live=True)))

    assert "on an A10 (unmeasured, rough; price list of 2026-07-01)." in listed.text
    assert "on an H200 (measured steps; live prices of 2026-08-01)." in live.text


def test_it_names_the_price_of_a_fallback_the_worst_case_and_how_to_refuse() -> None:
    usual, slower = estimated(7500, 13.164, "H100"), estimated(16_000, 20.5, "A100-80GB")
    others = (estimated(7500, 15.0, "H200"), slower)

    card = asked(a_plan(a_spec(), usual, fallbacks=others))
    chosen = asked(a_plan(a_spec(), usual, fallbacks=()))

    assert (
        "If no H100 is free, the run uses an H200 (2 h 5 min, $15.00) or an A100-80GB (4 h 27 min, "
        "$20.50; unmeasured, rough). With gpu:H100 it waits for an H100."
    ) in card.text
    assert "the run uses" not in chosen.text
    # An interruption costs at most 15 minutes of steps and a start of 4 minutes.
    assert INTERRUPTIONS == 3
    assert "At worst, on an A100-80GB and with 3 interruptions of each expert: 5 h 24 min" in (
        card.text
    )
    lost = 2 * 3 * (900 + 240) * (0.000694 + 2 * 0.0000131 + 16 * 0.00000222)
    assert f"5 h 24 min and ${20.5 + lost:.2f} (unmeasured, rough)." in card.text
    assert "unmeasured" not in field(chosen, "Time and cost")
    assert "At worst, on an H100 and with 3 interruptions of each expert" in chosen.text


def test_it_says_when_it_ends_and_the_place_in_the_line() -> None:
    usual = estimated(7500, 13.164, "H100")
    ends = moment(NOW + timedelta(seconds=7500), "f")
    busy = GpuLine(running=2, waiting=3, slots=2)

    free = asked(a_plan(a_spec(), usual))
    queued = asked(a_plan(a_spec(), usual, line=busy))

    assert f"Ends about {ends}." in field(free, "Time and cost")
    assert f"Position 4 in the GPU queue. Ends {ends} at the earliest." in (
        field(queued, "Time and cost")
    )


def test_a_plan_says_that_nothing_has_started_and_until_when_it_is_valid() -> None:
    card = asked(a_plan(a_spec()), "The dataset is now annika@3; it was annika@2.")

    assert card.title == f"Plan: annika-{PAIR}"
    assert "⚠ The dataset is now annika@3; it was annika@2." in card.description
    assert f"valid until {moment(NOW + timedelta(hours=1), 't')}" in card.description
    assert started_card(a_plan(a_spec())).title == f"annika-{PAIR}"


@pytest.mark.parametrize(
    ("plan", "reason"),
    [
        (a_plan(a_spec(ONE), estimated(60, 2.01, "H100")), "it may cost more than $2.00"),
        (
            a_plan(
                a_spec(ONE),
                estimated(60, 1, "H100"),
                fallbacks=(estimated(60, 3, "H200"),),
            ),
            "it may cost more than $2.00",
        ),
        (
            a_plan(a_spec(ONE), estimated(60, 1, "A10"), fallbacks=()),
            "its cost is only a rough estimate",
        ),
        (
            a_plan(a_spec(ONE, settings={"learning_rate": "0.1"}), estimated(60, 1, "H100")),
            "a setting is unusual",
        ),
        (a_plan(a_spec(ONE, "rehearsal", settings={"epochs": "900"})), "a setting is unusual"),
    ],
    ids=["cost", "fallback", "unmeasured", "unusual", "unusual-rehearsal"],
)
def test_it_says_why_it_does_not_start_at_once(plan: RunPlan, reason: str) -> None:
    assert plan.reasons_to_ask(2.0)
    assert reason in asked(plan).description


@pytest.mark.parametrize(
    "plan",
    [
        a_plan(a_spec(ONE), estimated(60, 2.0, "H100"), fallbacks=()),
        a_plan(a_spec(ONE, "rehearsal"), estimated(60, 2000.0, "A10")),
        a_plan(
            a_spec(ONE, "rehearsal"),
            report=report().model_copy(update={"findings": (TRIGGER,)}),
        ),
        a_plan(a_spec(ONE), estimated(60, 2000.0, "A10"), is_billed=False),
    ],
    ids=["cheap", "rehearsal", "rehearsal-with-findings", "own-machine"],
)
def test_what_costs_little_or_nothing_may_start_at_once(plan: RunPlan) -> None:
    assert plan.reasons_to_ask(2.0) == ()


def test_unusual_settings_are_named() -> None:
    card = asked(a_plan(a_spec(ONE, settings={"learning_rate": "0.1"})))

    assert "the loss will probably diverge" in field(card, "Unusual settings")
    assert card.colour == Colour.WARNING


def test_the_plan_of_a_rehearsal_says_that_it_is_free() -> None:
    card = started_card(a_plan(a_spec(ONE, "rehearsal"), estimated(7500, 5, "B200")))

    assert "This rehearsal is free." in card.text
    assert "Real training would take about 2 h 5 min and $5.00 on a B200" in card.text
    assert REHEARSAL in card.text
    assert "Cost of real training on each GPU" in names(card)
    assert "Ends " not in card.text


def test_ones_own_machine_bills_nothing() -> None:
    card = started_card(a_plan(a_spec(ONE), estimated(7500, 5, "H100"), is_billed=False))

    assert field(card, "Time and cost").startswith(
        "About 2 h 5 min on an H100 (measured steps). Runs on this machine are not billed."
    )
    assert "$" not in card.text
    assert "on each GPU" not in card.text


def test_the_plan_counts_items_and_explains_unusual_ones() -> None:
    told = replace(
        groups(), left_out=("The dataset has no images.",), remarks=("Some are *small*.",)
    )

    card = started_card(a_plan(a_spec(), groups=told))

    assert field(card, "Training items").splitlines() == [
        "10 items, 10 steps per epoch.",
        "The dataset has no images.",
        "Some are \\*small\\*.",
    ]


def test_plan_names_a_lightning_file_that_is_not_the_models_own() -> None:
    spec = a_spec(settings={"lightning_file": "low=some/lora:a.safetensors"})

    card = started_card(a_plan(spec))

    assert card.text.count("Lightning will be merged at strength 1") == 2
    assert card.text.count("strength 1: **some/lora/a.safetensors@main**") == 1


def test_the_plan_shows_the_memory_and_whether_it_is_measured() -> None:
    card, other = started_card(a_plan(a_spec())), started_card(a_plan(a_spec(ONE)))

    assert (
        "Needs about 39 GiB for the group clips-uniform (unmeasured, rough); an H100 has 79."
        in card.text
    )
    assert "for the group clips-uniform (measured);" in other.text


def test_plan_and_card_name_the_requested_gpu() -> None:
    found: Estimate = estimated(7500, 13.164, "H200")
    real = a_spec().model_copy(update={"gpu": "H200"})
    rehearsed = a_spec(engine="rehearsal").model_copy(update={"gpu": "H200"})

    for text in (started_card(a_plan(real, found)).text, run_card(a_view(real), now=NOW).text):
        assert "Chosen GPU: H200." in text
    for text in (
        started_card(a_plan(rehearsed, found)).text,
        run_card(a_view(rehearsed), now=NOW).text,
    ):
        assert "Chosen GPU: H200 (not used by a rehearsal)." in text
    assert "Chosen GPU" not in started_card(a_plan(a_spec(), found)).text


def test_the_plan_of_an_i2v_run_says_what_items_clips_saves() -> None:
    card = started_card(a_plan(a_spec("wan22-i2v-vanilla")))
    text_to_video = started_card(a_plan(a_spec("wan22-t2v-vanilla")))

    found = field(card, "Single frames")
    assert found.startswith("4 of 10 steps per epoch (")
    assert "% of the time) are single frames." in found
    assert "items=clips leaves them out and saves about" in found
    assert "Single frames" not in names(text_to_video)


def test_the_plan_names_the_preset_and_limits_in_bold() -> None:
    usual = a_spec("wan22-i2v-vanilla")
    items = ItemSettings(items="clips")
    spec = usual.model_copy(update={"preset": "reference", "items": items})

    text = started_card(a_plan(spec)).text

    assert "**Preset: reference.**" in text
    assert "**Limited to clips (no single frames).**" in text
    assert "Preset" not in started_card(a_plan(usual)).text


def test_the_plan_shows_remarks_on_a_start_and_a_lightning_file() -> None:
    usual = a_spec(PAIR)
    high = usual.expert("high")
    assert high.speed_lora is not None
    remark = "The LoRA was trained without a speed LoRA; wan22-i2v-lightning merges one in."
    changed = high.model_copy(
        update={
            "start": StartingPoint(source="old/high-e5", sha256="0" * 64, remarks=(remark,)),
            "speed_lora": high.speed_lora.model_copy(
                update={"file": "low_noise_model.safetensors"}
            ),
        }
    )
    spec = usual.model_copy(update={"experts": (changed, usual.expert("low"))})

    text = started_card(a_plan(spec)).text

    assert "**starts from old/high-e5**" in text
    assert remark in text
    assert "Judging by its name, this Lightning file is for the low-noise expert." in text
    assert "says" not in started_card(a_plan(usual)).text


def test_a_dismissed_plan_says_that_nothing_was_started() -> None:
    requester = Requester(guild="42", by="7", token="1")
    request = TrainRequest(model=ONE, dataset="annika")

    card = dismissed_card(Draft.of(a_plan(a_spec(ONE)), request, requester))

    assert card.title == "Dismissed"
    assert f"annika-{ONE} was not started" in card.description
