"""Every milestone is told once in the run's thread, whatever happens to the bot or the thread."""

import json

import pytest

from bot.sandbox.world import permissions
from tests.wire.bot.told.studio import HOUR, Studio
from training.runs.spec import RunSpec

FIFTH, TENTH = "Saved: epoch 5 (step 50)", "Saved: epoch 10 (step 100)"
DATASET, END = "Dataset annika@1", "Succeeded"


async def saved_once(studio: Studio, channel: str | None = None) -> RunSpec:
    """Start the bot and a run that saves a checkpoint."""
    run = studio.store_run("mine", channel)
    await studio.start_bot()
    await studio.clock.advance(10)
    studio.save(run, 5)
    await studio.clock.advance(60)
    return run


async def finish(studio: Studio, run: RunSpec) -> None:
    """Let a run save once more and end."""
    studio.save(run, 10)
    studio.end_run(run)
    await studio.clock.advance(60)


def card_text(studio: Studio) -> str:
    return json.dumps(studio.card("mine"))


async def test_milestones_are_told_once_across_restarts_and_ping_nobody(studio: Studio) -> None:
    run = studio.store_run("mine")
    await studio.start_bot()
    await studio.clock.advance(30)
    assert studio.thread("mine") == ""  # nothing to tell yet
    studio.save(run, 5)
    await studio.clock.advance(60)
    before = studio.told("mine")
    await studio.stop_bot()
    studio.clock.set_ahead(HOUR)

    await studio.start_bot()
    await finish(studio, run)

    assert before == [DATASET, FIFTH]
    assert studio.told("mine") == [DATASET, FIFTH, TENTH, END]
    assert len(studio.pings("mine")) == 1
    assert studio.untold() == []
    assert "Milestones" not in card_text(studio)


async def test_a_bot_that_was_killed_before_it_noted_a_message_does_not_repeat_it(
    studio: Studio,
) -> None:
    run = await saved_once(studio)
    await studio.stop_bot()
    store, key = studio.local.runtime.store, f"bot/cards/{run.keys.marker}.json"
    record = json.loads(store.read(key))
    killed = record | {"milestones": [], "posting": record["milestones"]}
    store.write(key, json.dumps(killed).encode())
    studio.clock.set_ahead(HOUR)  # Discord has forgotten the message's nonce

    await studio.start_bot()
    await studio.clock.advance(60)

    assert studio.told("mine") == [DATASET, FIFTH]
    await finish(studio, run)
    assert studio.told("mine") == [DATASET, FIFTH, TENTH, END]


async def test_what_an_hour_of_outage_hides_is_told_once_afterwards(studio: Studio) -> None:
    run = await saved_once(studio)
    studio.server.faults.outage(is_on=True)
    for epoch in (10, 15, 20):
        studio.save(run, epoch)
        await studio.clock.advance(60)
        studio.clock.set_ahead(HOUR / 3)

    studio.server.faults.outage(is_on=False)
    await studio.clock.advance(120)

    both = "Saved: epoch 15 (step 150), epoch 20 (step 200)"
    assert studio.told("mine") == [DATASET, FIFTH, TENTH, both]
    studio.end_run(run)
    await studio.clock.advance(60)
    assert studio.told("mine") == [DATASET, FIFTH, TENTH, both, END]


async def test_an_archived_run_thread_is_reopened(studio: Studio) -> None:
    run = await saved_once(studio)
    studio.server.faults.archive_thread(studio.thread("mine"))

    await finish(studio, run)

    assert studio.told("mine") == [DATASET, FIFTH, TENTH, END]
    assert not studio.server.world.channel(studio.thread("mine"))["archived"]


async def test_a_deleted_run_thread_is_not_opened_again_and_the_card_says_so(
    studio: Studio,
) -> None:
    run = await saved_once(studio)
    studio.server.faults.delete_channel(studio.thread("mine"))

    await finish(studio, run)

    assert studio.thread("mine") == ""
    assert "Milestones stay on this card: its thread was deleted." in card_text(studio)
    assert studio.state("mine") == "succeeded"
    assert len(studio.pings("mine")) == 1
    assert studio.untold() == []


async def test_a_locked_run_thread_is_named_on_the_card(studio: Studio) -> None:
    run = await saved_once(studio)
    studio.server.faults.archive_thread(studio.thread("mine"), is_locked=True)

    await finish(studio, run)

    assert studio.told("mine") == [DATASET, FIFTH]
    assert "Milestones stay on this card: its thread is locked." in card_text(studio)
    assert studio.untold() == []


async def test_a_new_card_links_to_the_thread_of_the_deleted_one(studio: Studio) -> None:
    run = await saved_once(studio)
    thread = studio.thread("mine")
    studio.server.faults.delete_message(thread)

    await studio.clock.advance(60)
    await finish(studio, run)

    assert f"Milestones: <#{thread}>" in card_text(studio)
    assert studio.told("mine") == [DATASET, FIFTH, TENTH, END]


@pytest.mark.parametrize("comes_back", [True, False])
async def test_without_permission_to_open_threads_the_card_says_why(
    studio: Studio, *, comes_back: bool
) -> None:
    studio.server.faults.deny(studio.channel, permissions.CREATE_PUBLIC_THREADS)
    run = await saved_once(studio)
    before = card_text(studio)

    if comes_back:
        studio.server.faults.deny(studio.channel)
        await studio.clock.advance(30)
    await finish(studio, run)

    line = "Milestones stay on this card: the bot lacks the Create Public Threads permission here."
    assert line in before
    assert (line in card_text(studio)) is not comes_back
    assert studio.told("mine") == ([DATASET, FIFTH, TENTH, END] if comes_back else [])
    assert len(studio.pings("mine")) == 1
    assert studio.untold() == []


async def test_a_run_in_a_thread_keeps_its_milestones_on_the_card(studio: Studio) -> None:
    thread = studio.open_thread()
    run = await saved_once(studio, thread)

    await finish(studio, run)

    card = json.dumps(studio.card("mine", thread))
    assert "Milestones stay on this card: this channel cannot have threads." in card
    assert studio.untold() == []


async def test_a_thread_that_a_person_opened_on_the_card_is_used(studio: Studio) -> None:
    run = studio.store_run("mine")
    await studio.start_bot()
    await studio.clock.advance(10)
    card = studio.card("mine")
    assert card is not None
    parent = studio.server.world.channel(studio.channel)
    studio.server.threads.open_on(parent, card, {"name": "mine"}, studio.owner())

    await finish(studio, run)

    assert studio.told("mine") == [DATASET, TENTH, END]
