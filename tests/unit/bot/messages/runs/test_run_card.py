"""The run's card: every status and stage in plain words, and what to do at the end."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from bot.messages.card import Card, Colour
from bot.messages.panel import Panel
from bot.messages.runs.answers import ended_ping, runs_card
from bot.messages.runs.card import run_card
from bot.messages.runs.wording import REHEARSAL
from tests.unit.bot.messages.run_examples import (
    CACHE,
    FETCH,
    NOW,
    PREPARE,
    START,
    a_spec,
    a_view,
    ended,
    failed,
    saved,
    started,
    stopped,
    submitted,
    succeeded,
    trained,
)
from training.catalogue.models import MODELS
from training.estimates.machine_requests import TRAIN_REQUEST
from training.estimates.prices import listed_prices
from training.operations.run_list import RunPage
from training.pipeline.run_view import Progress, RunView
from training.runs import events as ev
from training.runs.spec import Promise
from training.runs.training_events import EpochEnded, FastRefused, Warned
from training.vocabulary import StageKey, Trouble

HIGH, LOW = StageKey("train", "high"), StageKey("train", "low")
MERGE_HIGH, MERGE_LOW = StageKey("merge", "high"), StageKey("merge", "low")


def card_of(view: RunView) -> Panel:
    return run_card(view, now=NOW)


def at(start: datetime, seconds: float) -> str:
    """Return a moment as Discord shows it: the time of day."""
    return f"<t:{int((start + timedelta(seconds=seconds)).timestamp())}:t>"


def line_of(card: Card, beginning: str) -> str:
    lines = [line for field in card.fields for line in field.value.splitlines()]
    return next(line for line in lines if line[2:].startswith(beginning))


def field_of(card: Card, beginning: str) -> str:
    return next(field.value for field in card.fields if field.name.startswith(beginning))


def test_card_names_run_status_model_dataset_and_experts() -> None:
    card = card_of(a_view(a_spec()))

    assert card.title == "annika-wan22-i2v-lightning: queued"
    assert "**wan22-i2v-lightning** on dataset **annika@2**, high and low experts" in card.text


def test_a_single_expert_is_not_named() -> None:
    card = card_of(a_view(a_spec("wan21-i2v-720p"), started(PREPARE)))

    assert "expert" not in card.text
    assert "main" not in card.text


@pytest.mark.parametrize("model", [model.name for model in MODELS])
def test_every_stage_has_a_line_from_the_start(model: str) -> None:
    view = a_view(a_spec(model))

    card = card_of(view)

    assert len(field_of(card, "Stages").splitlines()) == len(view.keys)


def test_stages_show_their_state() -> None:
    view = a_view(
        a_spec(),
        succeeded(PREPARE, reused=True),
        succeeded(FETCH, "6 of 6 files fetched"),
        started(CACHE),
        submitted(MERGE_HIGH),
        progress={CACHE: Progress(done=12, total=18)},
        positions={MERGE_HIGH: 2},
    )

    card = card_of(view)

    assert line_of(card, "Prepare") == "✓ Prepare the dataset: reused"
    assert line_of(card, "Fetch") == "✓ Fetch the weights: done, 6 of 6 files fetched"
    assert line_of(card, "Cache") == "▸ Cache the dataset: 12/18 items"
    assert line_of(card, "Merge Lightning, high").endswith("queued, position 2 in the CPU queue")
    assert line_of(card, "Train, low") == "· Train, low: not started"


def test_merge_says_that_no_gpu_is_billed_and_how_many_layers_it_merged() -> None:
    view = a_view(
        a_spec(),
        succeeded(MERGE_HIGH, "Lightning 20/20"),
        started(MERGE_LOW),
        progress={MERGE_LOW: Progress(done=12, total=20)},
    )

    card = card_of(view)

    assert line_of(card, "Merge Lightning, high") == "✓ Merge Lightning, high: Lightning 20/20"
    assert line_of(card, "Merge Lightning, low").endswith(
        "merging on CPU, 12/20 layers, no GPU billed"
    )


def test_training_shows_epoch_step_loss_rate_time_left_and_checkpoints() -> None:
    spec = a_spec()
    newest = Progress(
        step=213,
        total_steps=900,
        epoch=12,
        loss=0.07,
        average_loss=0.0712,
        learning_rate=7.9e-5,
        seconds_per_step=1.1,
    )
    view = a_view(
        spec, started(HIGH), saved(spec, HIGH, 5), saved(spec, HIGH, 10), progress={HIGH: newest}
    )

    value = field_of(card_of(view), "Training, high")

    assert value.splitlines() == [
        "▰▰▱▱▱▱▱▱▱▱▱▱ 23 % · epoch 12/50 · step 213/900",
        "loss 0.0712",
        "1.1 s per step · learning rate 7.9e-5",
        f"about 13 min left, ends {at(NOW, 755)}",
        "2 checkpoints, newest: epoch 10",
    ]


def test_a_card_says_who_started_the_run_and_shows_the_course_of_the_loss() -> None:
    losses = (0.3, 0.2, 0.15)
    view = a_view(a_spec(), started(HIGH), *(ended_epoch(HIGH, n, x) for n, x in enumerate(losses)))

    card = card_of(view)

    assert "started by <@7>" in card.description
    assert "loss 0.1500 █▃▁ fell by 50 %" in field_of(card, "Training, high")


def ended_epoch(key: StageKey, number: int, loss: float) -> ev.StageEvent:
    body = EpochEnded(epoch=number, step=18 * number, loss=loss)
    return ev.StageEvent(at=START, key=key, attempt=1, body=body)


def test_the_end_of_the_run_is_that_of_its_last_expert() -> None:
    one = Progress(step=100, total_steps=900, seconds_per_step=1.0, attempt=1)
    both = {HIGH: one, LOW: one.model_copy(update={"seconds_per_step": 2.0})}

    known = card_of(a_view(a_spec(), started(HIGH), started(LOW), progress=both))
    unknown = card_of(a_view(a_spec(), started(HIGH), progress=both))

    end = int((NOW + timedelta(seconds=1600)).timestamp())
    assert f"Ends <t:{end}:f>, <t:{end}:R>." in known.description
    assert "Ends" not in unknown.description


def test_before_training_a_card_shows_what_the_plan_promised() -> None:
    promised = Promise(seconds=7200, usd=9.83)
    view = a_view(a_spec().model_copy(update={"promised": promised}), started(PREPARE))

    card = card_of(view)

    assert "Takes about 2 h once it has a GPU." in card.description
    assert "about $9.80 expected" in card.footer


def test_spent_and_expected_cost_follow_the_measured_speed() -> None:
    both = {HIGH: SLOW, LOW: SLOW}
    trains = (started(HIGH, gpu="H100"), started(LOW, gpu="H100"))

    card = card_of(a_view(a_spec(), *trains, progress=both, prices=PRICES))

    assert " of about $" in card.footer


def test_a_card_tells_the_last_sign_of_life_and_complains_when_it_is_old() -> None:
    def view(silent_seconds: int) -> RunView:
        newest = SLOW.model_copy(update={"at": NOW - timedelta(seconds=silent_seconds)})
        return a_view(a_spec(), started(HIGH), progress={HIGH: newest})

    alive, silent = card_of(view(20)), card_of(view(240))

    sign = int((NOW - timedelta(seconds=20)).timestamp())
    assert f"last sign of life <t:{sign}:R>" in alive.footer
    assert "No news" not in alive.text
    assert alive.colour is Colour.ACTIVE
    assert "⚠ No news for 4 min." in silent.description
    assert silent.colour is Colour.WARNING


def test_a_sign_of_life_of_an_earlier_attempt_does_not_count() -> None:
    newest = SLOW.model_copy(update={"at": NOW})
    again = (started(HIGH), stopped(HIGH), started(HIGH, attempt=2))

    assert a_view(a_spec(), *again, progress={HIGH: newest}).last_sign_of_life() == START
    assert a_view(a_spec(), *again[:2], progress={HIGH: newest}).last_sign_of_life() is None


PRICES = listed_prices()
# 800 of 900 steps are left, at 20 s each: 4 h 27 min.
SLOW = Progress(step=100, total_steps=900, seconds_per_step=20.0, attempt=1)


@pytest.mark.parametrize(
    ("gpu", "total", "so_far"), [("A100-80GB", "$13", "$0.50"), ("H200", "$22", "$1.00")]
)
def test_the_gpu_that_the_run_got_is_named_with_time_and_cost(
    gpu: str, total: str, so_far: str
) -> None:
    view = a_view(a_spec(), started(HIGH, gpu=gpu), progress={HIGH: SLOW}, prices=PRICES)

    high = field_of(card_of(view), "Training, high")
    assert f"GPU: {gpu} instead of an H100 · 20 s per step\n" in high
    assert f"about 4 h 27 min left, ends {at(NOW, 16_000)} · {total} in all" in high
    assert f"Started about 12 min ago · {so_far} so far" in card_of(view).footer


def test_the_first_choice_is_named_without_a_reason_and_an_unknown_gpu_without_a_price() -> None:
    usual = a_view(a_spec(), started(HIGH, gpu="H100"), progress={HIGH: SLOW}, prices=PRICES)
    own = a_view(a_spec(), started(HIGH, gpu="GeForce RTX 4090"), progress={HIGH: SLOW})

    assert "\nGPU: H100 · 20 s" in field_of(card_of(usual), "Training, high")
    high = field_of(card_of(own), "Training, high")
    assert "\nGPU: GeForce RTX 4090 · 20 s per step\nabout 4 h 27 min left" in high
    assert "$" not in card_of(own).text


def test_the_speed_of_an_earlier_attempt_is_not_used_for_the_next_gpu() -> None:
    view = a_view(
        a_spec(),
        *(started(HIGH, gpu="H100"), stopped(HIGH)),
        started(HIGH, attempt=2, gpu="A100-80GB"),
        progress={HIGH: SLOW},
        prices=PRICES,
    )

    high = field_of(card_of(view), "Training, high")
    assert "GPU: A100-80GB instead of an H100" in high
    assert "left" not in high
    assert "so far" in high


def test_a_final_card_says_what_the_gpus_cost() -> None:
    rate = PRICES.container_usd_per_second("H100", TRAIN_REQUEST)
    spec = a_spec()

    on_gpu = a_view(spec, started(HIGH, gpu="H100"), ended(minutes=40), prices=PRICES)
    free = a_view(spec, started(HIGH), ended(minutes=40))

    assert card_of(on_gpu).footer == f"Took 40 min · about ${rate * 2400:.2f}"
    assert card_of(free).footer == "Took 40 min"


@pytest.mark.parametrize(
    ("trouble", "told"),
    [
        ("loss_not_finite", "lower learning-rate"),
        ("learning_rate_zero", "Choose another scheduler"),
        ("adapter_unchanged", "did not change"),
    ],
)
def test_a_useless_training_is_reported_at_once_and_at_the_end(trouble: Trouble, told: str) -> None:
    spec = a_spec()
    warned = ev.StageEvent(
        at=START, key=LOW, attempt=1, body=Warned(trouble=trouble, step=3, epoch=1)
    )
    again = ev.StageEvent(
        at=START, key=LOW, attempt=2, body=Warned(trouble=trouble, step=3, epoch=1)
    )

    live = card_of(a_view(spec, started(HIGH), started(LOW), warned, again))
    final = card_of(a_view(spec, *trained(spec), warned, ended()))

    assert field_of(live, "Training, low").count("⚠") == 1
    assert told in field_of(live, "Training, low")
    assert "⚠" not in field_of(live, "Training, high")
    assert told in field_of(final, "Files, low")


def test_compiled_steps_that_were_refused_are_reported_with_the_reason() -> None:
    spec = a_spec()
    refused = FastRefused(reason="blocks are *swapped* to the CPU")
    told = ev.StageEvent(at=START, key=LOW, attempt=1, body=refused)

    live = card_of(a_view(spec, started(HIGH), started(LOW), told))

    warning = r"⚠ Trains with musubi-tuner's own, slower step: blocks are \*swapped\* to the CPU"
    assert warning in field_of(live, "Training, low")
    assert "⚠" not in field_of(live, "Training, high")


def test_a_diverged_loss_is_reported_at_once_and_never_ends_as_a_success() -> None:
    spec = a_spec()
    losses = (0.3, 0.1, 0.31)
    epochs = [
        ev.StageEvent(
            at=START, key=LOW, attempt=1, body=EpochEnded(epoch=n, step=10 * n, loss=loss)
        )
        for n, loss in enumerate(losses, start=1)
    ]

    live = card_of(a_view(spec, started(HIGH), started(LOW), *epochs))
    final = a_view(spec, *trained(spec), *epochs, ended())

    assert "diverged" in field_of(live, "Training, low")
    assert live.colour is Colour.WARNING
    assert card_of(final).title.endswith("finished, but the loss diverged")
    assert card_of(final).colour is Colour.WARNING
    assert ended_ping(final).startswith("⚠")
    assert "the loss diverged" in ended_ping(final)
    line = runs_card(RunPage(1, [final.summary(NOW)])).description
    assert line.startswith("⚠")
    assert "finished, but the loss diverged" in line


def test_no_time_left_is_shown_once_the_expert_no_longer_trains() -> None:
    progress = {HIGH: Progress(step=213, total_steps=900, seconds_per_step=1.1)}
    view = a_view(a_spec(), started(HIGH), stopped(HIGH), progress=progress)

    assert "left" not in card_of(view).text


def test_an_interruption_is_shown_while_waiting_and_after_resuming() -> None:
    interrupted = (started(HIGH), stopped(HIGH))
    waiting = card_of(a_view(a_spec(), *interrupted))
    queued = card_of(a_view(a_spec(), *interrupted, submitted(HIGH, 2), positions={HIGH: 1}))
    going_on = card_of(a_view(a_spec(), *interrupted, started(HIGH, 2)))

    assert line_of(waiting, "Train, high").endswith("interrupted; resumes automatically")
    assert line_of(queued, "Train, high").endswith(
        "queued, position 1 in the GPU queue (after an interruption)"
    )
    assert line_of(going_on, "Train, high").endswith("(resumed after an interruption, attempt 2)")


def test_rehearsal_is_labelled_in_every_status() -> None:
    spec = a_spec("wan21-t2v-14b", "rehearsal")
    cancelled = ev.RunCancelled(at=NOW)
    failure = ev.RunFailed(at=NOW, cause="It broke.", fix="Mend it.")
    for events in ([], [started(PREPARE)], [*trained(spec), ended()], [cancelled], [failure]):
        assert REHEARSAL in card_of(a_view(spec, *events)).description


def test_success_lists_files_and_what_to_do_in_comfyui() -> None:
    spec = a_spec()
    card = card_of(a_view(spec, *trained(spec), ended()))

    assert card.colour == Colour.GOOD
    assert card.title.endswith(": succeeded")
    assert field_of(card, "Files, high").splitlines() == [
        "`annika-wan22-i2v-lightning-high.safetensors`",
        "151 MiB, final, epoch 50",
        "and 2 earlier checkpoints: epochs 10, 5",
    ]
    assert "-low.safetensors" in field_of(card, "Files, low")
    assert "ComfyUI/models/loras/" in field_of(card, "Use it in ComfyUI")
    assert card.footer == "Took 40 min"


def test_advice_in_a_rehearsal_is_for_real_training_only() -> None:
    spec = a_spec("wan21-t2v-14b", "rehearsal")
    card = card_of(a_view(spec, *trained(spec), ended()))

    names = [field.name for field in card.fields]

    assert "Use it in ComfyUI, after real training" in names


def test_a_run_of_one_expert_says_where_to_get_the_other() -> None:
    both = a_spec()
    spec = both.model_copy(update={"experts": both.experts[:1]})
    card = card_of(a_view(spec, *trained(spec), ended()))

    assert "use the low LoRA of another run" in card.text


def test_a_failure_shows_its_stage_cause_fix_and_files() -> None:
    spec = a_spec()
    view = a_view(
        spec,
        started(HIGH),
        failed(HIGH, "The GPU was full.", "Lower the rank."),
        saved(spec, LOW, 50, is_final=True),
        succeeded(LOW),
        ev.RunFailed(at=NOW, cause="train (high): The GPU was full.", fix="Lower the rank."),
    )

    card = card_of(view)

    assert card.colour == Colour.BAD
    assert "**What happened:** train (high): The GPU was full." in card.description
    assert "**What to do:** Lower the rank." in card.description
    assert field_of(card, "What failed") == "✗ Train, high"
    assert field_of(card, "Files, high") == "none"
    assert "annika-wan22-i2v-lightning-low.safetensors" in field_of(card, "Files, low")
    assert line_of(card, "Check the files, high").endswith("not run")


def test_file_names_in_a_failure_are_not_taken_for_markup() -> None:
    view = a_view(a_spec(), ev.RunFailed(at=NOW, cause="**a_b_.mp4** broke.", fix=""))

    assert r"\*\*a_b\_.mp4\*\* broke." in card_of(view).description


def test_cards_of_cancelled_runs_say_what_is_kept() -> None:
    spec = a_spec()
    events = [started(HIGH), saved(spec, HIGH, 5), ev.CancelRequested(at=NOW, by="7")]
    cancelling = card_of(a_view(spec, *events))
    cancelled = card_of(a_view(spec, *events, ev.RunCancelled(at=NOW)))
    empty = card_of(a_view(spec, ev.RunCancelled(at=NOW)))

    assert cancelling.title.endswith(": cancelling")
    assert "already saved is kept" in cancelling.description
    assert "Its checkpoints are kept" in cancelled.description
    assert "-000005.safetensors" in field_of(cancelled, "Files, high")
    assert line_of(cancelled, "Train, high").endswith("stopped")
    assert "cancelled before it saved a checkpoint" in empty.description


def test_a_continued_run_names_the_run_that_it_resumes() -> None:
    card = card_of(a_view(a_spec(continues="annika-first")))
    repeated = card_of(a_view(a_spec().model_copy(update={"follows": "annika-first"})))

    assert "Resumes run **annika-first**" in card.description
    assert "Repeats run **annika-first** with a change." in repeated.description


def test_a_card_says_when_it_was_updated_until_the_run_has_ended() -> None:
    view = a_view(a_spec(), started(PREPARE))
    ended_view = a_view(a_spec(), *trained(a_spec()), ended())

    assert f"Updated <t:{int(NOW.timestamp())}:R>" in run_card(view, now=NOW).description
    assert "Updated" not in run_card(ended_view, now=NOW).description


@pytest.mark.parametrize("model", [model.name for model in MODELS])
@pytest.mark.parametrize("is_whole", [True, False])
def test_final_card_of_the_longest_name_is_never_cut(model: str, is_whole: bool) -> None:
    whole = a_spec(model, "rehearsal").model_copy(update={"name": "x" * 64})
    experts = whole.experts if is_whole else whole.experts[:1]
    spec = whole.model_copy(update={"experts": experts})

    text = card_of(a_view(spec, *trained(spec), ended())).text

    assert "…" not in text
    assert " more" not in text
    assert "Check the files" in text


def test_an_ended_run_tells_the_course_of_its_loss_and_a_flat_one_keeps_its_tick() -> None:
    spec = a_spec("wan21-t2v-14b")
    train = StageKey("train", "main")
    falling = [0.4, 0.2, 0.1]
    losses = [ended_epoch(train, n, x) for n, x in enumerate([*falling, *[0.1] * 6], start=1)]
    view = a_view(spec, *trained(spec), *losses, ended())

    files = field_of(card_of(view), "Files")

    course = "loss 0.4000 at first, 0.1000 at best (epoch 3), 0.1000 at the end: "
    assert f"{course}fell by 75 %, flat since epoch 3" in files
    assert card_of(view).title.endswith(": succeeded")
    assert ended_ping(view).startswith("✓")
    assert ended_ping(view).endswith(" Loss fell by 75 %, flat since epoch 3.")


def test_an_ended_run_compares_what_was_promised_with_what_was_paid() -> None:
    promised = Promise(seconds=3600, usd=9.83)
    spec = a_spec().model_copy(update={"promised": promised})

    card = card_of(a_view(spec, started(HIGH, gpu="H100"), ended(minutes=40), prices=PRICES))

    assert card.footer.startswith("Took 40 min · about $")
    assert card.footer.endswith(" · the plan said 1 h and $9.83")


def test_a_run_that_was_stopped_on_request_says_where() -> None:
    spec = a_spec("wan21-t2v-14b")
    train = StageKey("train", "main")
    asked = [started(train), saved(spec, train, 12), ev.FinishRequested(at=NOW, by="7")]
    live = a_view(spec, *asked, progress={train: SLOW})
    done = (succeeded(train), succeeded(StageKey("publish", "main")))

    final = card_of(a_view(spec, *asked, *done, ended()))

    assert card_of(live).title.endswith(": stopping here")
    assert "All checkpoints are kept" in card_of(live).description
    assert "Stopped on request in epoch 12 of 50." in final.description


def test_an_ended_run_says_that_its_record_is_damaged() -> None:
    train = StageKey("train", "main")
    whole = a_view(a_spec("wan21-t2v-14b"), started(train), succeeded(train), ended())
    unreadable = replace(whole, run=replace(whole.run, damaged=("train-main-1.jsonl",)))
    without_end = a_view(whole.spec, submitted(FETCH), started(train), succeeded(train), ended())
    cancelled = ev.RunCancelled(at=NOW)
    stopped_early = a_view(whole.spec, started(FETCH), cancelled)
    lost_before = a_view(whole.spec, submitted(FETCH), started(train), cancelled)

    said = [
        "record of this run is damaged" in card_of(view).description
        for view in (whole, unreadable, without_end, stopped_early, lost_before)
    ]

    assert said == [False, True, True, False, True]


def test_a_waiting_run_shows_its_place_and_when_it_should_start() -> None:
    view = a_view(a_spec(), submitted(CACHE), positions={CACHE: 2, MERGE_HIGH: 1})

    unknown, known = card_of(view), card_of(replace(view, starts_at=NOW + timedelta(hours=1)))

    assert "Position 2 in the GPU queue." in unknown.description
    start = int((NOW + timedelta(hours=1)).timestamp())
    assert f"Position 2 in the GPU queue, starts about <t:{start}:t>." in known.description


def test_a_checkpoint_that_was_damaged_is_named_beside_the_others() -> None:
    spec, train = a_spec("wan21-t2v-14b"), StageKey("train", "main")
    files = [saved(spec, train, 5), saved(spec, train, 50, is_final=True)]
    checked = saved(spec, StageKey("publish", "main"), 50, is_final=True)

    unsaid = card_of(a_view(spec, *files, ended())).description
    damaged = card_of(a_view(spec, *files, checked, ended())).description

    assert "All checkpoints are complete and verified." in unsaid
    assert f"Damaged after it was saved: {spec.output_name('main')}-000005.safetensors." in damaged
    assert "All checkpoints" not in damaged
