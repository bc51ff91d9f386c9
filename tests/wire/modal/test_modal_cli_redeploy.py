"""`lorabot deploy` of what is deployed already: what stays, and a copy that cannot start."""

import pytest

from tests.wire.modal.command_line import lorabot
from tests.wire.modal.loopback.api import Loopback
from tests.wire.modal.sandbox_thread import SandboxThread
from training.deployment import HUB_SECRET

DEPLOY = ("deploy", "--app", "team", "--json")


@pytest.fixture(scope="module")
def deployed(operator: Loopback, discord: SandboxThread) -> None:
    operator.create_secret(HUB_SECRET, {"HF_TOKEN": "hf_loopback"})
    operator.create_secret("team-discord", {"LORABOT_DISCORD_TOKEN": discord.server.bot_token})
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("LORABOT_TEAM_ROLE", "lora team")
        assert lorabot(*DEPLOY, "--engine", "rehearsal").code == 0


@pytest.mark.usefixtures("deployed")
def test_what_was_deployed_before_stays_unless_it_is_named(
    operator: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LORABOT_CLIP_SECONDS", "200")

    again = lorabot(*DEPLOY)
    kept = operator.variables("Bot"), operator.variables("prepare")
    monkeypatch.setenv("LORABOT_TEAM_ROLE", "")
    monkeypatch.setenv("LORABOT_CLIP_SECONDS", "100")
    other = lorabot(*DEPLOY)

    assert again.code == other.code == 0
    assert again.json()["engine"] == other.json()["engine"] == "rehearsal"
    assert "before: LORABOT_ENGINE=rehearsal, LORABOT_TEAM_ROLE=lora team." in again.err
    for variables in kept:
        assert variables["LORABOT_ENGINE"] == "rehearsal"
        assert variables["LORABOT_CLIP_SECONDS"] == "200"
    assert kept[0]["LORABOT_TEAM_ROLE"] == "lora team"
    assert "LORABOT_TEAM_ROLE was lora team, and is not set now." in other.err
    assert "LORABOT_CLIP_SECONDS was 200, and is 100 now." in other.err
    assert "LORABOT_TEAM_ROLE" not in operator.variables("Bot")
    assert operator.variables("train_small")["LORABOT_CLIP_SECONDS"] == "100"


@pytest.mark.usefixtures("deployed")
@pytest.mark.parametrize(
    ("token", "says"),
    [
        ("", "LORABOT_DISCORD_TOKEN is not set"),
        ("of.no.bot", "Discord refused the token in LORABOT_DISCORD_TOKEN"),
    ],
)
def test_a_bot_that_cannot_start_says_why_at_once(
    operator: Loopback, discord: SandboxThread, token: str, says: str
) -> None:
    operator.create_secret("team-discord", {"LORABOT_DISCORD_TOKEN": token})

    result = lorabot(*DEPLOY)
    found = server_finding()
    operator.create_secret("team-discord", {"LORABOT_DISCORD_TOKEN": discord.server.bot_token})
    repaired = lorabot(*DEPLOY)

    assert (result.code, result.out) == (1, "")
    assert f"All is deployed, but the bot cannot start: {says}" in result.err
    assert "modal secret create team-discord LORABOT_DISCORD_TOKEN=... --force" in result.err
    assert found["status"] == "fine" or says in found["text"]
    assert repaired.code == 0
    assert server_finding()["status"] == "fine"


def server_finding() -> dict[str, str]:
    """Return what the doctor says of the bot's server."""
    found = lorabot("doctor", "--json", "--backend", "modal", "--app", "team").json()
    return next(finding for finding in found if finding["check"] == "bot's server")
