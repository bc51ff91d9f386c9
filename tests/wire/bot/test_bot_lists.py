"""Lists in chat: runs by pages. Nothing trains here."""

from bot.hosting.local import LocalInstallation
from bot.sandbox.server import SandboxServer
from tests.many_runs import Crowd
from tests.wire.bot.added_runs import place_of
from tests.wire.bot.chat import Chat
from tests.wire.bot.stored import press


async def test_runs_are_listed_by_pages_that_keep_their_filter(
    ada: Chat, local: LocalInstallation, server: SandboxServer
) -> None:
    place = place_of(server)
    for number in range(25):
        owner = place.owner if number % 2 else "1"
        Crowd(local.home, place.guild, owner).add_ended(number, place.channel)

    first = await ada.ask("runs")
    second = await press(ada, first, "Next")
    last = await press(ada, second, "Next")
    back = await press(ada, last, "Previous")
    mine = await ada.ask("runs", mine=True, state="succeeded", model="wan21-t2v-1-3b")
    rest = await press(ada, mine, "Next")
    none = await ada.ask("runs", state="failed")

    assert "25 runs" in first.text
    assert "ended-24" in first.text
    assert "Page 1 of 3" in first.text
    assert "**ended-14**" in second.text
    assert "**ended-4**" in last.text
    assert "**ended-14**" in back.text
    assert "12 runs: succeeded, of wan21-t2v-1-3b, yours" in mine.text
    assert "**ended-22**" not in mine.text
    assert "**ended-1**" in rest.text
    assert "Page 2 of 2" in rest.text
    assert "No run is failed." in none.text
    assert list(none.buttons) == []
