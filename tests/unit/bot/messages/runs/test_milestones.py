"""The messages of a run's thread: what they say, and that each milestone has one."""

import pytest

from bot.messages.card import Colour
from bot.messages.runs.milestones import (
    MOST_SAVED,
    SavedFile,
    dataset_panel,
    end_panel,
    merged_panel,
    milestones,
    next_milestones,
    saved_panel,
    thread_note,
    warning_panel,
)
from tests import specs
from tests.receipts import a_receipt
from tests.unit.bot.messages.card_states import HIGH, READY, SPEC, STATES, epochs, whole
from tests.unit.bot.messages.run_examples import a_view, saved, started, succeeded
from training.pipeline.run_view import RunView
from training.runs import events as ev
from training.runs.hyperparameters import ItemSettings
from training.runs.training_events import FastRefused
from training.vocabulary import StageKey


def told(view: RunView) -> list[list[str]]:
    """Return the keys that each message tells, until nothing is left."""
    batches: list[list[str]] = []
    while batch := next_milestones(view, [key for keys in batches for key in keys]):
        batches.append([one.key for one in batch])
    return batches


@pytest.mark.parametrize("name", STATES)
def test_every_milestone_is_told_once(name: str) -> None:
    view = STATES[name]()

    keys = [key for batch in told(view) for key in batch]

    assert sorted(keys) == sorted(one.key for one in milestones(view))
    assert len(keys) == len(set(keys))
    assert ("end" in keys) is view.run.status.is_final


def test_checkpoints_that_wait_share_messages_and_the_end_comes_last() -> None:
    files = [saved(SPEC, HIGH, 5 * n) for n in range(1, 9)]
    view = a_view(SPEC, *READY, started(HIGH), *files, ev.RunCancelled(at=SPEC.created_at))

    assert list(map(len, told(view))) == [1, 1, 1, MOST_SAVED, 2, 1]
    assert told(view)[0] == ["dataset"]
    assert told(view)[-1] == ["end"]


def test_the_dataset_is_told_first_but_never_late_nor_alone() -> None:
    view = a_view(SPEC, *READY, started(HIGH), saved(SPEC, HIGH, 5))
    first, second, *_ = milestones(view)

    assert first.kind == "dataset"
    assert next_milestones(view, [second.key])[0].kind != "dataset"
    assert milestones(a_view(SPEC, started(HIGH))) == []


def test_the_dataset_is_told_with_what_the_run_takes_of_it() -> None:
    spec = SPEC.model_copy(update={"items": ItemSettings(items="clips")})

    assert dataset_panel(SPEC, specs.report()).text == "Dataset annika@2\n2 images and 2 clips."
    assert dataset_panel(spec, None).description == "Limited to clips (no single frames)."


def test_a_saved_checkpoint_has_its_loss_its_link_and_its_check() -> None:
    view = a_view(SPEC, *READY, *epochs(HIGH, 5), saved(SPEC, HIGH, 5))
    (one,) = [found for found in milestones(view) if found.kind == "saved"]

    good = saved_panel(view, [one], {one.key: SavedFile("http://x/d/1", "400/400 modules load")})
    bad = saved_panel(view, [one], {one.key: SavedFile("u", "no tensors", is_right=False)})

    assert good.title == "Saved: high epoch 5 (step 90)"
    assert f"[{SPEC.name}-high-000005.safetensors](http://x/d/1)" in good.text
    assert "loss 0.1231 · ✓ 400/400 modules load" in good.text
    assert "⚠ no tensors" in bad.text
    assert bad.colour == Colour.WARNING


def test_a_merge_is_told_with_what_is_known_of_it() -> None:
    merge = StageKey("merge", "high")
    view = a_view(SPEC, succeeded(merge, "Lightning 400/400 layers", reused=True))

    panel = merged_panel(view, "high", None)

    assert [one.key for one in milestones(view)] == ["dataset", str(merge)]
    assert panel.title == "Merged, high-noise expert"
    assert panel.description == "✓ Lightning 400/400 layers, merged for an earlier run"


def test_a_merge_shows_its_receipt() -> None:
    receipt = a_receipt(lora="lightning.safetensors")
    view = a_view(SPEC, succeeded(StageKey("merge", "high"), "Lightning 400/400 layers"))

    lines = merged_panel(view, "high", receipt).description.splitlines()

    assert lines == [
        "✓ Lightning 400/400 layers",
        "lightning.safetensors at strength 1 into base.safetensors",
        "12,800 values were recalculated: off by at most 0.00012",
        f"-# Receipt `{receipt.merge_sha256[:12]}`",
    ]


def test_each_warning_is_told_for_its_expert() -> None:
    refused = FastRefused(reason="the losses differ")
    slow = ev.StageEvent(at=SPEC.created_at, key=HIGH, attempt=1, body=refused)
    view = a_view(SPEC, *READY, *epochs(HIGH, 9, diverges=True), slow)
    warnings = [one for one in milestones(view) if one.kind == "warning"]

    texts = [warning_panel(one).text for one in warnings]

    assert len(texts) == 2
    assert all(text.startswith("Warning, high-noise expert\n⚠ ") for text in texts)
    assert "The loss diverged" in texts[0]
    assert "the losses differ" in texts[1]


def test_the_end_says_what_happened_and_how_the_loss_went() -> None:
    failed, good, flawed = (STATES[name]() for name in ("failed", "finished", "diverged"))

    assert end_panel(failed).title == "Failed"
    assert "**What happened:** Training of the high expert failed" in end_panel(failed).text
    assert "**What to do:** Lower the rank" in end_panel(failed).text
    assert end_panel(good).title == "Succeeded"
    assert "at the end: fell by" in end_panel(good).text
    assert "the plan said" in end_panel(good).footer
    assert end_panel(flawed).title == "Finished, but the loss diverged"
    assert end_panel(flawed).colour == Colour.WARNING


def test_a_panel_of_many_long_names_keeps_every_link_whole() -> None:
    view = whole()
    batch = [one for one in milestones(view) if one.kind == "saved"][:MOST_SAVED]
    url = f"https://{'x' * 300}/{'y' * 80}.safetensors"

    panel = saved_panel(view, batch, {one.key: SavedFile(url, "ok") for one in batch})

    assert panel.text.count(f"({url})") == len(batch)


def test_the_cards_line_is_only_there_if_it_is_needed() -> None:
    assert thread_note("") == ""
    assert thread_note("", 7) == "-# Milestones: <#7>"
    assert "Create Public Threads" in thread_note("create")
