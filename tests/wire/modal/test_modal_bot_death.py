"""The bot's only container dies: another one starts by itself and continues the cards."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.wire.modal.asking import asking, cards_and_pings
from tests.wire.modal.hosting import hosting, person
from tests.wire.modal.loopback.api import Loopback
from tests.wire.modal.loopback.container import Container

End = Callable[[Loopback, Container], None]


@pytest.mark.slow
@pytest.mark.parametrize("end", [Loopback.preempt, Loopback.kill], ids=["preempted", "killed"])
async def test_a_new_container_takes_over_and_misses_no_command_once_it_serves(
    tmp_path: Path, end: End
) -> None:
    async with hosting(tmp_path) as hosted, person(hosted.server) as ada:
        old = await asyncio.to_thread(hosted.start)
        await asyncio.to_thread(hosted.add_run, "mine")
        card = await ada.card("mine")
        await asyncio.to_thread(hosted.wait_until_card_is_noted)

        async with asking(hosted.server, ada) as asked:
            await asyncio.to_thread(end, hosted.loopback, old)
            new = await asyncio.to_thread(hosted.wait_until_it_serves, except_for=(old,))
            serves_at = asyncio.get_running_loop().time()
            await asked.until_answered()
        await asyncio.to_thread(hosted.end_run, "mine")
        await ada.ping("mine")
        ended = await ada.card("mine", lambda m: "succeeded" in m.text)

        assert [at for at in asked.failed if at > serves_at] == []
        assert set(asked.acknowledgements.values()) == {1}
        assert new.text.count("this copy of the bot is active") == 1
        assert ended.id == card.id
        assert await cards_and_pings(ada, "mine") == (1, 1)
