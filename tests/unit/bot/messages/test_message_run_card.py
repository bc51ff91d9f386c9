"""The run's card: every status and stage in plain words, and what there is to do at the end."""

from datetime import timedelta

import pytest

from bot.messages.card import Card, Colour
from bot.messages.run_card import REHEARSAL, run_card
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
from training.pipeline.run_view import Progress, RunView
from training.runs import events as ev
from training.runs.training_events import Warned
from training.vocabulary import StageKey, Trouble

HIGH, LOW = StageKey("train", "high"), StageKey("train", "low")
MERGE_HIGH, MERGE_LOW = StageKey("merge", "high"), StageKey("merge", "low")


def card_of(view: RunView) -> Card:
    return run_card(view, now=NOW)


def line_of(card: Card, beginning: str) -> str:
    lines = [line for field in card.fields for line in field.value.splitlines()]
    return next(line for line in lines if line[2:].startswith(beginning))


def field_of(card: Card, beginning: str) -> str:
    return next(field.value for field in card.fields if field.name.startswith(beginning))


def test_card_names_run_status_model_dataset_and_experts() -> None:
    card = card_of(a_view(a_spec()))

    assert card.title == "annika-wan22-i2v-lightning: queued"
    assert "**wan22-i2v-lightning** on dataset **annika@2**, high and low experts" in card.text


def test_single_expert_is_not_named_where_there_is_no_other() -> None:
    card = card_of(a_view(a_spec("wan21-i2v-720p"), started(PREPARE)))

    assert "expert" not in card.text
    assert "main" not in card.text


@pytest.mark.parametrize("model", [model.name for model in MODELS])
def test_every_stage_has_a_line_from_the_start(model: str) -> None:
    view = a_view(a_spec(model))

    card = card_of(view)

    assert len(field_of(card, "Stages").splitlines()) == len(view.keys)


def test_stages_tell_how_they_stand() -> None:
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
    assert line_of(card, "Merge Lightning, high").endswith("queued, position 2 in the CPU line")
    assert line_of(card, "Train, low") == "· Train, low: later"


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
        "▰▰▱▱▱▱▱▱▱▱▱▱ 23 %",
        "epoch 12/50 · step 213/900",
        "loss 0.0712 · learning rate 7.9e-5",
        "about 13 min left",
        "2 checkpoints, newest: epoch 10",
    ]


@pytest.mark.parametrize(
    ("trouble", "told"),
    [
        ("loss_not_finite", "lower learning-rate"),
        ("learning_rate_zero", "Choose another scheduler"),
        ("adapter_unchanged", "did not change"),
    ],
)
def test_a_training_that_leads_nowhere_is_told_at_once_and_in_the_end(
    trouble: Trouble, told: str
) -> None:
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


def test_time_left_is_not_told_once_the_expert_no_longer_trains() -> None:
    progress = {HIGH: Progress(step=213, total_steps=900, seconds_per_step=1.1)}
    view = a_view(a_spec(), started(HIGH), stopped(HIGH), progress=progress)

    assert "left" not in card_of(view).text


def test_interruption_is_told_while_it_waits_and_after_it_went_on() -> None:
    interrupted = (started(HIGH), stopped(HIGH))
    waiting = card_of(a_view(a_spec(), *interrupted))
    queued = card_of(a_view(a_spec(), *interrupted, submitted(HIGH, 2), positions={HIGH: 1}))
    going_on = card_of(a_view(a_spec(), *interrupted, started(HIGH, 2)))

    assert line_of(waiting, "Train, high").endswith("interrupted; it goes on by itself")
    assert line_of(queued, "Train, high").endswith(
        "queued, position 1 in the GPU line (after an interruption)"
    )
    assert line_of(going_on, "Train, high").endswith("(went on after an interruption, attempt 2)")


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
        "and 2 earlier checkpoints: epochs 5, 10",
    ]
    assert "-low.safetensors" in field_of(card, "Files, low")
    assert "ComfyUI/models/loras/" in field_of(card, "What to do in ComfyUI")
    assert card.footer == "Took 40 min from start to end"


def test_advice_of_a_rehearsal_is_not_offered_for_its_own_files() -> None:
    spec = a_spec("wan21-t2v-14b", "rehearsal")
    card = card_of(a_view(spec, *trained(spec), ended()))

    names = [field.name for field in card.fields]

    assert "What to do in ComfyUI, once it is trained for real" in names


def test_run_of_one_expert_says_where_the_other_comes_from() -> None:
    both = a_spec()
    spec = both.model_copy(update={"experts": both.experts[:1]})
    card = card_of(a_view(spec, *trained(spec), ended()))

    assert "the low LoRA comes from another run" in card.text


def test_failure_says_what_failed_why_what_to_do_and_which_files_are_there() -> None:
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


def test_cancelling_and_cancelled_say_what_is_kept() -> None:
    spec = a_spec()
    events = [started(HIGH), saved(spec, HIGH, 5), ev.CancelRequested(at=NOW, by="7")]
    cancelling = card_of(a_view(spec, *events))
    cancelled = card_of(a_view(spec, *events, ev.RunCancelled(at=NOW)))
    empty = card_of(a_view(spec, ev.RunCancelled(at=NOW)))

    assert cancelling.title.endswith(": cancelling")
    assert "Checkpoints are kept" in cancelling.description
    assert "What was saved is kept" in cancelled.description
    assert "-000005.safetensors" in field_of(cancelled, "Files, high")
    assert line_of(cancelled, "Train, high").endswith("stopped")
    assert "No checkpoint had been saved" in empty.description


def test_continued_run_names_the_one_it_goes_on_from() -> None:
    card = card_of(a_view(a_spec(continues="annika-first")))

    assert "Goes on from the run **annika-first**" in card.description


def test_card_does_not_change_with_every_second() -> None:
    view = a_view(a_spec(), started(PREPARE))

    first = run_card(view, now=START + timedelta(seconds=5))
    second = run_card(view, now=START + timedelta(seconds=20))

    assert first == second


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
