"""Lists and short answers: models, runs, links, plans, errors, the line at a run's end."""

from dataclasses import dataclass

import pytest

from bot.messages.error_text import error_card, unexpected_text
from bot.messages.lists import cancelled_card, download_card, ended_ping, models_card, runs_card
from bot.messages.plan_text import plan_card
from bot.messages.run_card import REHEARSAL, run_card
from tests.specs import groups
from tests.unit.bot.messages.run_examples import (
    NOW,
    PREPARE,
    START,
    a_spec,
    a_view,
    ended,
    saved,
    started,
    trained,
)
from training.catalogue.gpus import GPUS
from training.catalogue.models import MODELS
from training.errors import RequestError
from training.estimates.prices import PriceList, listed_prices
from training.estimates.time_and_cost import Estimate
from training.runs import events as ev
from training.vocabulary import StageKey

HIGH = StageKey("train", "high")


@dataclass(frozen=True)
class ALink:
    """A checkpoint's link."""

    expert: str
    file_name: str
    epoch: int
    size_bytes: int
    url: str


def estimated(seconds: float, usd: float, gpu: str, *, live: bool = False) -> Estimate:
    listed = listed_prices()
    today = PriceList(usd_per_second=listed.usd_per_second, day=START.date(), is_live=True)
    return Estimate(seconds, usd, GPUS[gpu], today if live else listed)


def links(experts: tuple[str, ...], epochs: int, url_length: int = 180) -> list[ALink]:
    return [
        ALink(expert, f"a-{epoch:06d}.safetensors", epoch, 1000, f"https://b/{'u' * url_length}")
        for expert in experts
        for epoch in range(1, epochs + 1)
    ]


def test_models_are_all_shown_with_what_they_are_for() -> None:
    card = models_card(MODELS)

    assert [field.name for field in card.fields] == [model.name for model in MODELS]
    assert all(model.use_case in card.text for model in MODELS)
    assert "high: rank 8, learning rate 1e-4 · low: rank 42, learning rate 8e-5" in card.text


def test_runs_show_state_stage_and_whether_they_are_rehearsals() -> None:
    done = a_spec("wan21-t2v-14b", "rehearsal")
    card = runs_card(
        [
            a_view(a_spec(), started(PREPARE)).summary(),
            a_view(done, *trained(done), ended()).summary(),
        ]
    )

    first, _bar, second = card.description.splitlines()
    assert first.startswith("▸ **annika-wan22-i2v-lightning**")
    assert first.endswith("running, prepare")
    assert second.startswith("✓ ")
    assert second.endswith("succeeded, rehearsal")


def test_no_runs_say_how_to_start_one() -> None:
    assert "/train" in runs_card([]).text


def test_ping_is_one_line_that_tells_how_the_run_ended() -> None:
    spec = a_spec()
    cause = "The GPU\nwas full. " + "x" * 4000
    succeeded = ended_ping(a_view(spec, *trained(spec), ended()))
    failed = ended_ping(a_view(spec, ev.RunFailed(at=NOW, cause=cause, fix="")))
    cancelled = ended_ping(a_view(spec, ev.RunCancelled(at=NOW)))

    assert "has succeeded: 6 checkpoints to download" in succeeded
    assert "has failed. The GPU was full." in failed
    assert "was cancelled; nothing had been saved yet" in cancelled
    for line in (succeeded, failed, cancelled):
        assert "\n" not in line
        assert len(line) < 500


def test_ping_of_a_rehearsal_says_that_it_is_one() -> None:
    spec = a_spec("wan21-t2v-14b", "rehearsal")

    assert "(a rehearsal)" in ended_ping(a_view(spec, *trained(spec), ended()))


def test_ping_before_the_end_is_a_mistake_of_ours() -> None:
    with pytest.raises(ValueError, match="has not ended"):
        ended_ping(a_view(a_spec(), started(PREPARE)))


def test_cancelling_says_whether_it_is_done_and_what_is_kept() -> None:
    spec = a_spec()
    events = [started(HIGH), saved(spec, HIGH, 5), ev.CancelRequested(at=NOW, by="7")]

    cancelling = cancelled_card(a_view(spec, *events))
    cancelled = cancelled_card(a_view(spec, *events, ev.RunCancelled(at=NOW)))

    assert "It stops as soon as" in cancelling.description
    assert cancelled.description == "It is cancelled. Its checkpoints are kept."


def test_download_links_every_checkpoint_newest_first_and_the_zip() -> None:
    found = links(("high", "low"), 10)
    card = download_card(a_view(a_spec()), found, "https://b/z")

    assert "[Everything as one zip](https://b/z) (20 KiB)" in card.description.replace("**", "")
    assert card.text.count("](https://b/u") == 20
    assert card.text.index("epoch 10") < card.text.index("epoch 9")
    assert "Checkpoints, high-noise expert" in card.text
    assert "links expire" in card.footer


def test_download_offers_the_newest_pairs_as_zips_of_their_own() -> None:
    pairs = {epoch: f"https://b/p{epoch}" for epoch in (1, 2, 3)}
    card = download_card(a_view(a_spec()), links(("high", "low"), 3), "https://b/z", pairs)

    assert "[epoch 3: high and low](https://b/p3)\n[epoch 2: high and low]" in card.text
    assert "epoch 1: high and low" not in card.text
    assert card.text.count("](https://b/u") == 6
    assert "did not fit" not in card.description


def test_download_shows_the_newest_of_both_experts_when_not_all_fit() -> None:
    found = links(("high", "low"), 100, url_length=300)
    card = download_card(a_view(a_spec(engine="rehearsal")), found, "https://b/z")

    for name in ("Checkpoints, high-noise expert", "Checkpoints, low-noise expert"):
        first = next(field for field in card.fields if field.name == name)
        assert first.value.startswith("[epoch 100](")
    shown = card.text.count("](https://b/u")
    assert f"{200 - shown} earlier checkpoints did not fit here: see the zip" in card.description
    assert REHEARSAL in card.description
    assert "…" not in card.text


def test_plan_shows_settings_of_each_expert_steps_time_and_cost() -> None:
    spec = a_spec(settings={"alpha": "high=4 low=42"})
    card = plan_card(spec, estimated(7500, 13.164, "H100"), groups())

    assert "rank 8, alpha 4 · learning rate 1e-4" in card.text
    assert "rank 42 · learning rate 8e-5" in card.text
    assert "50 epochs of 18 steps: 900 steps in all" in card.text
    assert "Lightning merged at strength 1" in card.text
    assert (
        "About 2 h 5 min and $13.16: a rough estimate for real training on an H100, "
        "price list of 2026-07-01." in card.text
    )
    assert REHEARSAL not in card.text


def test_plan_names_a_lightning_file_that_is_not_the_models_own() -> None:
    spec = a_spec(settings={"lightning_file": "low=some/lora:a.safetensors"})
    card = plan_card(spec, estimated(7500, 13.164, "H100"), groups())

    assert card.text.count("Lightning merged at strength 1") == 2
    assert card.text.count("strength 1: some/lora/a.safetensors@main") == 1


def test_plan_shows_the_memory_and_says_where_it_is_not_measured() -> None:
    card = plan_card(a_spec(), estimated(7500, 13.164, "H100"), groups())
    other = plan_card(a_spec("wan21-t2v-14b"), estimated(7500, 13.164, "H100"), groups())

    assert (
        "Up to about 39 of the 79 GiB of an H100, in the group clips-uniform (unmeasured, rough)."
        in card.text
    )
    assert "in the group clips-uniform (measured)." in other.text


def test_plan_says_where_its_speed_is_not_measured_and_its_prices_are_of_today() -> None:
    listed = plan_card(a_spec(), estimated(7500, 13.164, "A10"), groups())
    live = plan_card(a_spec(), estimated(7500, 13.164, "H200", live=True), groups())

    assert "on an A10, its speed not measured, price list of 2026-07-01." in listed.text
    assert "on an H200, its speed not measured, live prices of 2026-08-01." in live.text


def test_plan_and_card_name_the_gpu_that_was_asked_for() -> None:
    real = a_spec().model_copy(update={"gpu": "H200"})
    rehearsed = a_spec(engine="rehearsal").model_copy(update={"gpu": "H200"})
    estimate = estimated(7500, 13.164, "H200")

    for text in (plan_card(real, estimate, groups()).text, run_card(a_view(real), now=NOW).text):
        assert "GPU asked for: H200." in text
        assert "uses none" not in text
    for text in (
        plan_card(rehearsed, estimate, groups()).text,
        run_card(a_view(rehearsed), now=NOW).text,
    ):
        assert "GPU asked for: H200. A rehearsal uses none, the real training would." in text
    assert "GPU asked for" not in plan_card(a_spec(), estimate, groups()).text


def test_plan_of_a_rehearsal_says_that_it_costs_nothing() -> None:
    spec = a_spec("wan21-t2v-14b", "rehearsal")
    card = plan_card(spec, estimated(7500, 5, "B200"), groups())

    assert "This rehearsal costs nothing here." in card.text
    assert "real training on a B200" in card.text
    assert REHEARSAL in card.text


def test_error_shows_cause_then_fix_as_they_are() -> None:
    card = error_card(RequestError("There is no '*x*' here.", "Choose a, b or c."))

    assert card.description == ("There is no '\\*x\\*' here.\n\n**What to do:** Choose a, b or c.")


def test_long_error_still_says_what_to_do() -> None:
    card = error_card(RequestError("word " * 5000, "Make it shorter."))

    assert card.description.endswith("Make it shorter.")


def test_bug_is_told_with_its_id() -> None:
    assert "`ab12cd34`" in unexpected_text("ab12cd34")
