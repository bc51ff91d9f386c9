"""Cards and ends of many runs: no channel, card or command that is refused delays the others."""

import logging
import re

import pytest

from bot.sandbox.wire import ApiError
from bot.sandbox.world import permissions
from tests.wire.bot.told.studio import HOUR, Studio

COMMANDS = "PUT /applications/{application_id}/commands"
LIMITED = "We are being rate limited"


async def test_an_end_goes_before_forty_old_cards_of_its_channel(
    studio: Studio, caplog: pytest.LogCaptureFixture
) -> None:
    runs = [studio.store_run(f"run-{number}") for number in range(40)]
    await studio.start_bot()
    await studio.clock.advance(60)
    studio.clock.set_ahead(2 * HOUR)
    for run in runs:
        studio.progress(run, 100)
    await studio.clock.advance(20)

    studio.end_run(runs[-1])
    await studio.clock.advance(10)
    ended = studio.state("run-39"), len(studio.pings("run-39"))
    await studio.clock.advance(80)

    assert ended == ("succeeded", 1)
    titles = [one["embeds"][0]["title"] for one in studio.messages() if one["embeds"]]
    fresh = [one for one in studio.messages() if "100/500" in str(one["components"])]
    assert len(fresh) == 39
    assert "39 live runs" in titles
    assert LIMITED not in caplog.text


async def test_a_ping_does_not_wait_for_its_card(studio: Studio) -> None:
    run = studio.store_run("mine")
    await studio.start_bot()
    await studio.clock.advance(10)
    edits = "PATCH /channels/{channel_id}/messages/{message_id}"
    studio.server.faults.refusals[edits] = ApiError(403, 50001, "Missing Access")

    studio.end_run(run)
    await studio.clock.advance(10)

    assert studio.state("mine") == "running"
    assert len(studio.pings("mine")) == 1
    studio.server.faults.refusals.clear()
    await studio.clock.advance(60)
    assert studio.state("mine") == "succeeded"
    assert len(studio.pings("mine")) == 1


async def test_what_is_refused_delays_nobody_else(
    studio: Studio, caplog: pytest.LogCaptureFixture
) -> None:
    studio.server.faults.refusals[COMMANDS] = ApiError(400, 30034, "Max number of daily creates")
    slow, closed, fine = (studio.open_channel(name) for name in ("slow", "closed", "fine"))
    runs = [studio.store_run(f"run-{number}") for number in range(10)]
    unreadable = studio.store_run("unreadable", fine)
    runs += [studio.store_run(name, name_of) for name, name_of in (("slow", slow), ("well", fine))]
    shut = studio.store_run("shut", closed)
    key = f"bot/cards/{unreadable.keys.marker}.json"
    studio.local.runtime.store.write(key, b"\x00damaged")
    studio.server.faults.deny(closed, permissions.VIEW_CHANNEL)
    await studio.start_bot()
    await studio.clock.advance(20)
    studio.clock.set_ahead(2 * HOUR)
    studio.server.faults.limit_channel(slow, seconds=15.0, requests=6)
    for run in runs:
        studio.progress(run, 100)
    await studio.clock.advance(5)

    with caplog.at_level(logging.WARNING):
        for run in (*runs[-2:], unreadable, shut):
            studio.end_run(run)
        await studio.clock.advance(10)
        soon = [studio.pings("well", fine), studio.pings("unreadable", fine)]
        states = [studio.state("well", fine), studio.state("unreadable", fine)]
        await studio.clock.advance(120)

    assert [len(pings) for pings in soon] == [1, 1]
    assert states == ["succeeded", "succeeded"]
    assert (studio.state("slow", slow), len(studio.pings("slow", slow))) == ("succeeded", 1)
    assert all("100/500" in str(studio.card(run.name)) for run in runs[:10])
    ended = {run.keys.marker for run in (*runs[-2:], unreadable, shut)}
    assert ended & set(studio.untold()) == {shut.keys.marker}
    assert not [one for one in caplog.records if one.exc_info]


async def test_refused_commands_are_registered_later_and_cards_are_kept_meanwhile(
    studio: Studio, caplog: pytest.LogCaptureFixture
) -> None:
    studio.server.faults.refusals[COMMANDS] = ApiError(400, 30034, "Max number of daily creates")
    run = studio.store_run("mine")
    await studio.start_bot()
    studio.end_run(run)
    await studio.clock.advance(HOUR)
    before = len(studio.pings("mine")), studio.server.commands.of(None)

    studio.server.faults.refusals.clear()
    await studio.clock.advance(600)

    assert before == (1, [])
    assert {"train", "runs"} <= {one["name"] for one in studio.server.commands.of(None)}
    warned = [one for one in caplog.messages if one.startswith("registering the commands: 400")]
    assert len(warned) == 1


async def test_a_live_card_is_updated_every_minute_even_if_nothing_has_changed(
    studio: Studio,
) -> None:
    runs = [studio.store_run(f"run-{number}") for number in range(25)]
    await studio.start_bot()
    await studio.clock.advance(60)
    studio.clock.set_ahead(2 * HOUR)
    begun = studio.clock.now().timestamp()
    await studio.clock.advance(60)

    # The time that this machine needs for the cards passes on the clock, too, beside the minute.
    updated = [studio.updated_at(run.name) - begun for run in runs]
    assert all(seconds >= 0 for seconds in updated), updated


async def test_an_outage_is_survived_and_every_card_catches_up(
    studio: Studio, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = studio.store_run("first"), studio.store_run("second")
    await studio.start_bot()
    await studio.clock.advance(10)
    studio.server.faults.outage(is_on=True)
    studio.end_run(first)
    await studio.clock.advance(HOUR)
    assert studio.pings("first") == []

    studio.server.faults.outage(is_on=False)
    studio.end_run(second)
    await studio.clock.advance(120)

    assert [studio.state(name) for name in ("first", "second")] == ["succeeded", "succeeded"]
    assert [len(studio.pings(name)) for name in ("first", "second")] == [1, 1]
    found = (re.search(r"Attempting a reconnect in ([\d.]+)s", one) for one in caplog.messages)
    pauses = [float(one[1]) for one in found if one]
    assert pauses
    assert max(pauses) <= 120.0
    assert not [record for record in caplog.records if record.exc_info]


async def test_a_card_whose_message_was_deleted_is_posted_again(studio: Studio) -> None:
    run = studio.store_run("mine")
    await studio.start_bot()
    await studio.clock.advance(10)
    card = studio.card("mine")
    assert card is not None
    studio.server.faults.delete_message(card["id"])
    studio.progress(run, 100)
    await studio.clock.advance(20)

    assert "100/500" in str(studio.card("mine"))
    studio.end_run(run)
    await studio.clock.advance(20)
    assert (studio.state("mine"), len(studio.pings("mine"))) == ("succeeded", 1)


async def test_a_channel_with_too_many_live_runs_shows_one_list(studio: Studio) -> None:
    runs = [studio.store_run(f"run-{number:02}") for number in range(30)]
    await studio.start_bot()
    await studio.clock.advance(60)
    studio.clock.set_ahead(2 * HOUR)
    studio.progress(runs[3], 100)
    await studio.clock.advance(40)

    (shown,) = studio.lists()
    assert studio.clock() - studio.updated(shown) < 40
    assert "**run-03**" in str(shown["embeds"])
    for run in runs[:9]:
        studio.end_run(run)
    await studio.clock.advance(40)
    assert len(studio.lists()) == 1  # 21 runs are left
    studio.end_run(runs[9])
    await studio.clock.advance(30)
    assert studio.lists() == []
    assert {studio.state(run.name) for run in runs[:10]} == {"succeeded"}


async def test_more_than_five_waiting_runs_are_one_list_and_get_cards_when_they_start(
    studio: Studio,
) -> None:
    first = [studio.store_waiting_run(f"run-{number}") for number in range(3)]
    bot = await studio.start_bot()
    await studio.clock.advance(10)
    later = [studio.store_waiting_run(f"run-{number}") for number in range(3, 8)]
    await studio.clock.advance(10)
    late = studio.store_waiting_run("run-8")
    await bot.client.show_run(late.guild, late.name)
    await studio.clock.advance(60)
    with_cards = [run.name for run in (*first, *later, late) if studio.card(run.name)]
    (shown,) = studio.lists()
    text = str(shown["embeds"])

    studio.begin_run(later[4])
    await studio.clock.advance(60)
    started = studio.state("run-7"), studio.card("run-8")
    for run in (*first, *later[:3]):
        studio.end_run(run)
    await studio.clock.advance(60)

    assert with_cards == ["run-0", "run-1", "run-2"]
    assert all(f"**run-{number}**" in text for number in range(9))
    assert "get their card when they start" in text
    assert started == ("running", None)
    assert studio.lists() == []
    assert studio.state("run-8") == "queued"
    assert studio.state("run-3") == "succeeded"


async def test_runs_that_wait_in_a_thread_are_listed_in_that_thread(studio: Studio) -> None:
    thread = studio.open_thread()
    runs = [studio.store_waiting_run(f"run-{number}", thread) for number in range(7)]
    await studio.start_bot()
    await studio.clock.advance(60)
    (shown,) = [one for one in studio.messages(thread) if one["embeds"]]
    assert all(f"**{run.name}**" in str(shown["embeds"]) for run in runs)

    for run in runs:
        studio.begin_run(run)
    await studio.clock.advance(60)

    assert [studio.state(run.name, thread) for run in runs] == ["running"] * 7
    assert [one for one in studio.messages(thread) if one["embeds"]] == []
    assert studio.messages() == []
