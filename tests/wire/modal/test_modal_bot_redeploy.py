"""A redeploy of the bot while people type: nothing is missed, and the new copy takes over."""

import asyncio
from pathlib import Path

import pytest

from tests.wire.modal.asking import asking, cards_and_pings
from tests.wire.modal.hosting import hosting, person


@pytest.mark.slow
async def test_a_redeploy_misses_no_command_and_leaves_one_active_copy(tmp_path: Path) -> None:
    async with hosting(tmp_path) as hosted, person(hosted.server) as ada:
        old = await asyncio.to_thread(hosted.start)
        await asyncio.to_thread(hosted.add_run, "mine")
        card = await ada.card("mine")

        async with asking(hosted.server, ada) as asked:
            await asyncio.to_thread(hosted.deploy, LORABOT_LINK_HOURS="12")
            new = await asyncio.to_thread(hosted.wait_until_it_serves, except_for=(old,))
        await asyncio.to_thread(hosted.end_run, "mine")
        await ada.ping("mine")
        ended = await ada.card("mine", lambda m: "succeeded" in m.text)

        assert asked.failed == []
        assert len(asked.answered) > 20
        assert set(asked.acknowledgements.values()) == {1}
        assert old.exit_code == 0
        assert "no longer active" in old.text
        assert new.text.count("this copy of the bot is active") == 1
        assert ended.id == card.id
        assert await cards_and_pings(ada, "mine") == (1, 1)
        assert len([one for one in hosted.server.gateway.sessions.values() if one.connection]) == 1
