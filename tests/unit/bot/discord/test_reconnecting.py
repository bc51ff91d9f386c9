"""Pauses before reconnecting stay short on a bad network and grow in an outage."""

from bot.discord.reconnecting import GatewayPauses


def pauses_with(connected_seconds: float) -> list[float]:
    """Return 50 pauses, after each of which the bot is connected for so long."""
    now = 1000.0
    pauses, found = GatewayPauses(lambda: now), list[float]()
    for _ in range(50):
        found.append(pauses.delay())
        now += found[-1] + connected_seconds
    return found


def test_after_connections_that_lasted_every_pause_is_short() -> None:
    assert max(pauses_with(connected_seconds=45.0)) <= 1.0


def test_in_an_outage_pauses_grow_up_to_two_minutes() -> None:
    found = pauses_with(connected_seconds=0.1)

    assert found[0] <= 1.0
    assert found[3] >= 4.0
    assert all(60.0 <= pause <= 120.0 for pause in found[8:])
