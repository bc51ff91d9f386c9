"""The end of a run comes with its chart, wherever it is told; the thread shows the dataset."""

from pathlib import Path

import pytest

from bot.sandbox.world import permissions
from tests.media import guide_files, write_zip
from tests.wire.bot.told.studio import Studio, pictures
from training.registry.dataset_draft import Upload
from training.runs.spec import RunSpec

STEPS = 40
CHART = f"at step {STEPS} of 500"  # its text for people who cannot see it


async def trained(studio: Studio, channel: str | None = None) -> RunSpec:
    """Start the bot and a run that takes some steps."""
    run = studio.store_run("mine", channel)
    studio.take_steps(run, STEPS)
    await studio.start_bot()
    await studio.clock.advance(10)
    return run


async def end(studio: Studio, run: RunSpec) -> None:
    studio.end_run(run)
    await studio.clock.advance(60)


async def test_a_card_that_is_posted_again_at_the_end_has_the_chart(studio: Studio) -> None:
    run = await trained(studio)
    card = studio.card("mine")
    assert card is not None
    studio.server.faults.delete_message(card["id"])

    await end(studio, run)

    again = studio.card("mine")
    assert again is not None
    assert again["id"] != card["id"]
    assert CHART in pictures(again)[0]


async def test_a_card_that_comes_only_after_the_end_has_the_chart(studio: Studio) -> None:
    run = studio.store_run("mine")
    studio.take_steps(run, STEPS)
    studio.end_run(run)

    await studio.start_bot()
    await studio.clock.advance(60)

    card = studio.card("mine")
    assert card is not None
    assert CHART in pictures(card)[0]


@pytest.mark.parametrize("has_fallback", [True, False])
async def test_an_end_that_is_told_elsewhere_has_the_chart(
    studio: Studio, *, has_fallback: bool
) -> None:
    gone, fallback = studio.open_channel("tests"), studio.open_channel("ends")
    run = await trained(studio, gone)
    if has_fallback:
        assert studio.bot is not None
        settings = studio.bot.client.service.settings
        settings.change(studio.guild, by="1", fallback_channel=fallback)
    studio.server.faults.delete_channel(gone)

    await end(studio, run)

    (message,) = studio.pings("mine", fallback) if has_fallback else studio.direct()
    assert CHART in pictures(message)[0]


async def test_without_permission_to_attach_files_the_end_is_shown_and_told(
    studio: Studio, caplog: pytest.LogCaptureFixture
) -> None:
    run = studio.store_run("mine")
    studio.take_steps(run, STEPS)
    studio.save(run, 4)
    studio.end_run(run)
    studio.server.faults.deny(studio.channel, permissions.ATTACH_FILES)

    await studio.start_bot()
    await studio.clock.advance(60)

    card = studio.card("mine")
    assert card is not None
    assert pictures(card) == []
    assert studio.state("mine") == "succeeded"
    assert studio.told("mine") == ["Dataset annika@1", "Saved: epoch 4 (step 40)", "Succeeded"]
    assert "the bot cannot attach loss.png" in caplog.text
    assert studio.untold() == []


async def test_the_thread_begins_with_the_contact_sheet_and_goes_on_with_charts(
    studio: Studio, tmp_path: Path
) -> None:
    archive = write_zip(tmp_path / "annika.zip", guide_files(images=2, clips=0))
    studio.local.datasets.add(
        studio.guild, "annika", Upload(archive=archive, by="7", file_name="a.zip")
    )
    run = await trained(studio)
    studio.save(run, 4)

    await end(studio, run)

    sheet, saved, ended = [pictures(one) for one in studio.messages(studio.thread("mine"))]
    assert sheet[0].startswith("Contact sheet: 2 images, with captions.")
    assert [CHART in one[0] for one in (saved, ended)] == [True, True]
