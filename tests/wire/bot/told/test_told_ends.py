"""Every end is shown and told, wherever the run's channel has gone meanwhile."""

import logging

import pytest

from bot.sandbox.world import permissions
from bot.sandbox.world.components import texts_of
from tests.wire.bot.told.studio import HOUR, Studio

ENDED = "succeeded"


async def test_an_archived_thread_is_reopened_for_the_end(studio: Studio) -> None:
    thread = studio.open_thread()
    run = studio.store_run("mine", thread)
    await studio.start_bot()
    await studio.clock.advance(10)
    studio.server.faults.archive_thread(thread)

    studio.end_run(run)
    await studio.clock.advance(30)

    assert studio.state("mine", thread) == ENDED
    assert len(studio.pings("mine", thread)) == 1
    assert studio.untold() == []


async def test_a_thread_stays_open_while_its_run_is_live_unless_a_person_closes_it(
    studio: Studio,
) -> None:
    thread = studio.open_thread()
    run = studio.store_run("mine", thread)
    await studio.start_bot()
    await studio.clock.advance(10)
    channel = studio.server.world.channel(thread)
    studio.server.faults.archive_thread(thread)

    studio.progress(run, 100)
    await studio.clock.advance(20)
    is_reopened = not channel["archived"]
    studio.server.faults.archive_thread(thread)
    studio.progress(run, 200)
    await studio.clock.advance(120)

    assert is_reopened
    assert channel["archived"]
    studio.end_run(run)
    await studio.clock.advance(30)
    assert studio.state("mine", thread) == ENDED


@pytest.mark.parametrize("is_archived", [False, True])
async def test_the_end_of_a_run_in_a_locked_thread_is_told_directly(
    studio: Studio, *, is_archived: bool
) -> None:
    thread = studio.open_thread()
    run = studio.store_run("mine", thread)
    await studio.start_bot()
    await studio.clock.advance(10)
    studio.server.faults.archive_thread(thread, is_locked=True)
    studio.server.world.channel(thread)["archived"] = is_archived

    studio.end_run(run)
    await studio.clock.advance(30)

    (message,) = studio.direct()
    told = texts_of(message["components"])[0]
    assert "mine" in told
    assert "on Studio A" in told
    assert studio.untold() == []


async def test_a_channel_that_the_cache_lacks_is_used(studio: Studio) -> None:
    studio.server.faults.unlist_channel(studio.channel)
    run = studio.store_run("mine")
    await studio.start_bot()
    await studio.clock.advance(10)

    studio.end_run(run)
    await studio.clock.advance(30)

    assert studio.state("mine") == ENDED
    assert len(studio.pings("mine")) == 1


@pytest.mark.parametrize("comes", [True, False])
async def test_a_server_that_is_late_or_never_announced_is_told(
    studio: Studio, *, comes: bool
) -> None:
    run = studio.store_run("mine")
    studio.server.faults.withhold_guild(studio.guild)
    await studio.start_bot()
    studio.end_run(run)
    await studio.clock.advance(30)
    if comes:
        studio.server.faults.deliver_guild(studio.guild)
        await studio.clock.advance(30)

    assert studio.state("mine") == ENDED
    assert len(studio.pings("mine")) == 1


async def test_the_end_of_a_run_in_a_deleted_channel_goes_to_its_owner(studio: Studio) -> None:
    channel = studio.open_channel("tests")
    run = studio.store_run("mine", channel)
    await studio.start_bot()
    await studio.clock.advance(10)
    studio.server.faults.delete_channel(channel)
    await studio.clock.advance(600)

    studio.end_run(run)
    await studio.clock.advance(30)

    (message,) = studio.direct()
    assert any(text.startswith("### mine: succeeded") for text in texts_of(message["components"]))
    assert "custom_id" not in str(message["components"])
    assert studio.untold() == []


async def test_the_fallback_channel_takes_the_ends_of_a_deleted_channel(studio: Studio) -> None:
    channel, fallback = studio.open_channel("tests"), studio.open_channel("ends")
    bot = await studio.start_bot()
    bot.client.service.settings.change(studio.guild, by="1", fallback_channel=fallback)
    run = studio.store_run("mine", channel)
    await studio.clock.advance(10)
    studio.server.faults.delete_channel(channel)

    studio.end_run(run)
    await studio.clock.advance(30)

    (message,) = studio.pings("mine", fallback)
    assert message["mentions"] == [studio.owner()]
    assert message["mention_roles"]
    assert studio.direct() == []


@pytest.mark.parametrize(("by", "pings_team"), [("Ada", False), ("Ben", True)])
async def test_who_cancels_their_own_run_pings_nobody_else(
    studio: Studio, by: str, *, pings_team: bool
) -> None:
    run = studio.store_run("mine")
    await studio.start_bot()
    await studio.clock.advance(10)

    studio.cancel_run(run, by)
    await studio.clock.advance(30)

    (message,) = studio.pings("mine")
    assert message["mentions"] == [studio.owner()]
    assert bool(message["mention_roles"]) is pings_team


async def test_an_end_that_nobody_can_be_told_now_is_told_later(
    studio: Studio, caplog: pytest.LogCaptureFixture
) -> None:
    channel, fallback = studio.open_channel("tests"), studio.open_channel("ends")
    run = studio.store_run("mine", channel)
    studio.server.world.user(studio.owner())["dms_open"] = False
    bot = await studio.start_bot()
    studio.server.faults.delete_channel(channel)
    studio.end_run(run)
    await studio.clock.advance(HOUR)
    assert studio.untold() != []

    bot.client.service.settings.change(studio.guild, by="1", fallback_channel=fallback)
    await studio.clock.advance(600)

    assert len(studio.pings("mine", fallback)) == 1
    assert caplog.text.count("end cannot be announced") == 1


async def test_a_server_that_is_joined_again_catches_up(studio: Studio) -> None:
    run = studio.store_run("mine")
    await studio.start_bot()
    await studio.clock.advance(10)
    studio.server.faults.remove_bot(studio.guild)
    studio.end_run(run)
    await studio.clock.advance(HOUR)
    before = studio.state("mine"), studio.untold(), studio.direct()

    studio.server.faults.add_bot(studio.guild)
    await studio.clock.advance(10)

    assert before == ("running", [run.keys.marker], [])
    assert studio.state("mine") == ENDED
    assert len(studio.pings("mine")) == 1


async def test_an_end_that_a_channel_refuses_for_a_day_goes_to_the_owner(studio: Studio) -> None:
    run = studio.store_run("mine")
    await studio.start_bot()
    await studio.clock.advance(10)
    studio.server.faults.deny(studio.channel, permissions.SEND_MESSAGES)
    studio.end_run(run)
    await studio.clock.advance(60)
    before = studio.direct()

    studio.clock.set_ahead(24 * HOUR)
    await studio.clock.advance(600)

    assert before == []
    assert len(studio.direct()) == 1
    assert studio.state("mine") == ENDED


async def test_a_refused_channel_is_tried_in_growing_pauses_and_logged_once(
    studio: Studio, caplog: pytest.LogCaptureFixture
) -> None:
    run = studio.store_run("mine")
    await studio.start_bot()
    await studio.clock.advance(10)
    studio.server.faults.deny(studio.channel, permissions.VIEW_CHANNEL)
    studio.end_run(run)
    with caplog.at_level(logging.WARNING):
        await studio.clock.advance(2 * HOUR)
    refused = [one for one in caplog.records if "Missing Access" in one.getMessage()]

    studio.server.faults.deny(studio.channel)
    await studio.clock.advance(10)

    assert len(refused) == 3  # one each for the card, the ping and the thread
    assert all(one.exc_info is None for one in refused)
    assert studio.state("mine") == ENDED
    assert len(studio.pings("mine")) == 1


async def test_a_ping_needs_no_permission_to_read_the_history(studio: Studio) -> None:
    run = studio.store_run("mine")
    await studio.start_bot()
    await studio.clock.advance(10)
    studio.server.faults.deny(studio.channel, permissions.READ_HISTORY)

    studio.end_run(run)
    await studio.clock.advance(30)

    assert len(studio.pings("mine")) == 1
