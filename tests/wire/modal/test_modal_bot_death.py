"""The bot's only container dies: another comes up by itself and goes on with the cards."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.wire.modal.asking import asking, cards_and_pings
from tests.wire.modal.hosting import hosting, person
from tests.wire.modal.loopback.api import Loopback
from tests.wire.modal.loopback.container import Container

# Far above what was measured, for machines that have other things to do.
GAP_SECONDS = 45.0
End = Callable[[Loopback, Container], None]


@pytest.mark.slow
@pytest.mark.parametrize("end", [Loopback.preempt, Loopback.kill], ids=["preempted", "killed"])
async def test_another_container_goes_on_after_a_short_gap(
    tmp_path: Path, end: End, capsys: pytest.CaptureFixture[str]
) -> None:
    async with hosting(tmp_path) as hosted, person(hosted.server) as ada:
        old = await asyncio.to_thread(hosted.start)
        await asyncio.to_thread(hosted.add_run, "mine")
        card = await ada.card("mine")
        await asyncio.to_thread(hosted.wait_until_card_is_noted)

        async with asking(hosted.server, ada) as asked:
            await asyncio.to_thread(end, hosted.loopback, old)
            new = await asyncio.to_thread(hosted.wait_until_it_serves, except_for=(old,))
            await asked.until_answered()
        await asyncio.to_thread(hosted.end_run, "mine")
        await ada.ping("mine")
        ended = await ada.card("mine", lambda m: "succeeded" in m.text)

        with capsys.disabled():
            print(f"\ncommands failed for {asked.gap_seconds:.1f} s")  # noqa: T201
        assert asked.gap_seconds < GAP_SECONDS
        assert set(asked.acknowledgements.values()) == {1}
        assert new.text.count("this copy of the bot is active") == 1
        assert ended.id == card.id
        assert await cards_and_pings(ada, "mine") == (1, 1)
