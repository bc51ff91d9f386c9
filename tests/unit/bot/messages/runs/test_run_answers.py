"""Lists and short answers: models, runs, links, plans, errors, the ping at a run's end."""

from dataclasses import replace
from datetime import timedelta

import pytest

from bot.messages.errors import error_card, unexpected_text
from bot.messages.models import models_card, setting_text
from bot.messages.runs.answers import cancelled_card, ended_ping, live_runs_card, runs_card
from bot.messages.runs.downloads import (
    CheckpointLink,
    EpochLinks,
    download_card,
    epoch_choice,
)
from bot.messages.runs.wording import REHEARSAL
from tests.unit.bot.messages.run_examples import (
    NOW,
    PREPARE,
    a_spec,
    a_view,
    ended,
    saved,
    started,
    trained,
)
from training.catalogue.models import MODELS
from training.catalogue.presets import REFERENCE
from training.errors import RequestError
from training.operations.run_list import RunPage
from training.pipeline.run_view import RunSummary
from training.ports import RunFilter
from training.runs import events as ev
from training.vocabulary import ExpertName, StageKey

HIGH = StageKey("train", "high")


def epoch_links(epoch: int, *experts: ExpertName, loss: float | None = 0.0312) -> EpochLinks:
    files = tuple(
        CheckpointLink(
            expert,
            f"a-{expert}-{epoch:06d}.safetensors",
            1000,
            loss,
            f"https://b/u/{expert}{epoch}",
        )
        for expert in experts
    )
    return EpochLinks(epoch, files, f"https://b/p{epoch}" if len(files) > 1 else None)


def test_all_models_are_shown_with_their_use() -> None:
    card = models_card(MODELS)

    names = [field.name for field in card.fields]
    assert names[: len(MODELS)] == [model.name for model in MODELS]
    assert all(model.use_case in card.text for model in MODELS)
    assert "high: rank 8, learning rate 1e-4 · low: rank 42, learning rate 8e-5" in card.text


def test_the_whole_reference_preset_is_shown_with_the_reason_for_each_value() -> None:
    card = models_card(MODELS)

    shown = {field.name: field.value for field in card.fields}
    for value in REFERENCE:
        name = f"preset=reference: {setting_text(value)}"
        assert shown[name].endswith(value.reason)
    assert "preset=reference: high.flow-shift=12" in shown


def test_runs_show_state_stage_and_whether_they_are_rehearsals() -> None:
    done = a_spec("wan21-t2v-14b", "rehearsal")
    runs = [
        a_view(a_spec(), started(PREPARE)).summary(NOW),
        a_view(done, *trained(done), ended()).summary(NOW),
    ]
    card = runs_card(RunPage(2, runs))

    first, _bar, second = card.description.splitlines()
    assert first.startswith("▸ **annika-wan22-i2v-lightning**")
    assert first.endswith("running, prepare")
    assert second.startswith("✓ ")
    assert second.endswith("succeeded, rehearsal")


def test_the_list_shows_what_each_run_has_cost() -> None:
    spec = a_spec("wan21-t2v-14b")
    cost = ev.StageCost(seconds=3_600, gpu="H100", cores=2, memory_gib=16, usd_per_second=0.001)
    paid = ev.StageEvent(at=NOW, key=StageKey("train", "main"), attempt=1, body=cost)
    billed, free = (a_view(spec, *events, ended()) for events in ([paid], []))

    card = runs_card(RunPage(2, [billed.summary(NOW), free.summary(NOW)]))

    first, second = card.description.splitlines()
    assert first.endswith("succeeded · $3.60")
    assert second.endswith("succeeded")


def test_an_empty_list_says_how_to_start_a_run() -> None:
    assert "/train" in runs_card(RunPage(0, [])).text


def test_a_page_of_runs_says_how_many_there_are_and_are_still_read() -> None:
    done = a_spec("wan21-t2v-14b", "rehearsal")
    page = RunPage(105, [a_view(done, *trained(done), ended()).summary(NOW)], 100, unread=9_000)

    card = runs_card(page)

    assert card.title == "105 runs"
    assert card.footer.startswith("Page 11 of 11. Still reading 9,000 older runs. ")


def test_a_filtered_list_says_what_it_is_limited_to() -> None:
    done = a_spec("wan21-t2v-14b", "rehearsal")
    summary = a_view(done, *trained(done), ended()).summary(NOW)
    only = RunFilter(state="succeeded", model="wan21-t2v-14b", requested_by="7")

    some, none = (runs_card(RunPage(n, [summary] * n), only=only) for n in (1, 0))

    assert some.title == "1 run: succeeded, of wan21-t2v-14b, yours"
    assert "Page" not in some.footer
    assert none.description == (
        "No run is succeeded, of wan21-t2v-14b, yours. `/runs` lists all runs."
    )


def test_a_page_of_runs_that_wait_with_long_names_and_reasons_fits_into_a_message() -> None:
    long = RunSummary(
        name="n" * 64,
        model="wan22-i2v-lightning",
        dataset=f"{'d' * 64}@100000",
        state="running",
        stage="publish",
        engine="rehearsal",
        error="* " * 400,
    )

    shown = runs_card(RunPage(10, [long] * 10)).description

    assert shown.count("n" * 64) == 10


def test_a_page_of_runs_says_why_old_ones_cannot_be_listed() -> None:
    card = runs_card(RunPage(1, [], unread=9_000, obstacle="No space left on device"))

    assert card.footer.startswith(
        "9,000 older runs cannot be listed: the bot cannot write the index of runs (No space "
        "left on device). "
    )


def test_ping_is_one_line_that_tells_how_the_run_ended() -> None:
    spec = a_spec()
    cause = "The GPU\nwas full. " + "x" * 4000
    succeeded = ended_ping(a_view(spec, *trained(spec), ended()))
    failed = ended_ping(a_view(spec, ev.RunFailed(at=NOW, cause=cause, fix="")))
    cancelled = ended_ping(a_view(spec, ev.RunCancelled(at=NOW)))

    assert "succeeded: 6 checkpoints to download" in succeeded
    assert "failed. The GPU was full." in failed
    assert "was cancelled; nothing was saved" in cancelled
    for line in (succeeded, failed, cancelled):
        assert "\n" not in line
        assert len(line) < 500


def test_ping_of_a_rehearsal_says_that_it_is_one() -> None:
    spec = a_spec("wan21-t2v-14b", "rehearsal")

    assert "(a rehearsal)" in ended_ping(a_view(spec, *trained(spec), ended()))


def test_a_ping_before_the_end_is_a_bug() -> None:
    with pytest.raises(ValueError, match="has not ended"):
        ended_ping(a_view(a_spec(), started(PREPARE)))


def test_the_answer_to_cancel_says_whether_it_is_done_and_what_is_kept() -> None:
    spec = a_spec()
    events = [started(HIGH), saved(spec, HIGH, 5), ev.CancelRequested(at=NOW, by="7")]

    cancelling = cancelled_card(a_view(spec, *events))
    cancelled = cancelled_card(a_view(spec, *events, ev.RunCancelled(at=NOW)))

    assert cancelling.title.endswith(": cancelling")
    assert cancelling.description == "Stopping now. Anything already saved is kept."
    assert cancelled.title.endswith(": cancelled")
    assert cancelled.description == "Its checkpoints are kept."


def test_download_links_everything_and_the_newest_epoch() -> None:
    epochs = [epoch_links(3, "high"), epoch_links(2, "high", "low"), epoch_links(1, "high", "low")]
    card = download_card(a_view(a_spec()), epochs, epochs[1], "https://b/z")

    assert card.title == "annika-wan22-i2v-lightning: 5 checkpoints"
    assert "[Everything in one zip](https://b/z)** (4.9 KiB)" in card.description
    assert "**Epoch 2, the newest**\n[Both experts and a workflow in one zip](https://b/p2)" in (
        card.description
    )
    assert "[a-low-000002.safetensors](https://b/u/low2) · 1000 bytes · loss 0.0312" in card.text
    assert "000001" not in card.text
    assert "Choose another epoch below" in card.text
    assert "only in the zip" not in card.text
    assert "Links expire" in card.footer


def test_download_says_what_menus_do_not_hold() -> None:
    epochs = [epoch_links(number, "main") for number in range(103, 0, -1)]
    card = download_card(a_view(a_spec(engine="rehearsal")), epochs, epochs[0], "https://b/z")

    assert "The 3 oldest epochs are only in the zip." in card.description
    assert REHEARSAL in card.description


@pytest.mark.parametrize(
    ("experts", "loss", "shown"),
    [
        (("high", "low"), 0.0312, "high loss 0.0312, low loss 0.0312 · 2.0 KiB"),
        (("low",), 0.0312, "low loss 0.0312 · 1000 bytes"),
        (("main",), 0.0312, "loss 0.0312 · 1000 bytes"),
        (("high", "low"), None, "2.0 KiB"),
    ],
)
def test_a_menu_shows_the_losses_of_an_epoch(
    experts: tuple[ExpertName, ...], loss: float | None, shown: str
) -> None:
    assert epoch_choice(epoch_links(10, *experts, loss=loss)) == ("Epoch 10", shown)


def test_an_error_shows_cause_and_fix_unchanged() -> None:
    card = error_card(RequestError("There is no '*x*' here.", "Choose a, b or c."))

    assert card.description == ("There is no '\\*x\\*' here.\n\n**What to do:** Choose a, b or c.")


def test_a_long_error_still_shows_the_fix() -> None:
    card = error_card(RequestError("word " * 5000, "Make it shorter."))

    assert card.description.endswith("Make it shorter.")


def test_a_bug_is_reported_with_its_id() -> None:
    assert "`ab12cd34`" in unexpected_text("ab12cd34")


def test_a_run_in_a_list_shows_its_place_in_the_queue() -> None:
    view = a_view(a_spec(), positions={StageKey("cache"): 3, StageKey("prepare"): 1})
    start = NOW + timedelta(hours=1)
    waiting = [one.summary(NOW) for one in (view, replace(view, starts_at=start))]

    card = live_runs_card(waiting, now=NOW, are_held=True)

    _, unknown, _, known, _ = card.description.splitlines()
    assert unknown == "Position 3 in the GPU queue."
    assert known == f"Position 3 in the GPU queue, starts about <t:{int(start.timestamp())}:t>."
