"""`lorabot deploy` of what is deployed already: what stays, and a copy that cannot start."""

import os
from dataclasses import replace
from pathlib import Path

import modal
import pytest

from bot.deploy.deploy import deploy
from bot.hosting.startup_report import StartupReport, report_key
from storage.local.run_index import SqliteRunIndex
from storage.modal.runtime import open_runtime
from tests.media import guide_files, write_zip
from tests.wire.modal.command_line import lorabot
from tests.wire.modal.loopback.api import Loopback
from tests.wire.modal.sandbox_thread import SandboxThread
from training.deployment.names import HUB_SECRET, Deployment
from training.operations.run_drafts import Requester
from training.operations.runs import Runs
from training.pipeline.leases import hold_lease
from training.registry.dataset_draft import Upload
from training.registry.datasets import Datasets
from training.runs.spec import TrainRequest

DEPLOY = ("deploy", "--app", "team", "--json")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def deployed(operator: Loopback, discord: SandboxThread) -> None:
    operator.create_secret(HUB_SECRET, {"HF_TOKEN": "hf_loopback"})
    operator.create_secret("team-discord", {"LORABOT_DISCORD_TOKEN": discord.server.bot_token})
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("LORABOT_TEAM_ROLE", "lora team")
        assert lorabot(*DEPLOY, "--engine", "rehearsal").code == 0


@pytest.mark.usefixtures("deployed")
def test_earlier_settings_stay_unless_they_are_set_again(
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
    assert "last deploy: LORABOT_ENGINE=rehearsal, LORABOT_TEAM_ROLE=lora team." in again.err
    for variables in kept:
        assert variables["LORABOT_ENGINE"] == "rehearsal"
        assert variables["LORABOT_CLIP_SECONDS"] == "200"
    assert kept[0]["LORABOT_TEAM_ROLE"] == "lora team"
    assert "LORABOT_TEAM_ROLE changes from lora team to its default." in other.err
    assert "LORABOT_CLIP_SECONDS changes from 200 to 100." in other.err
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
def test_a_bot_that_cannot_start_reports_why_at_once(
    operator: Loopback, discord: SandboxThread, token: str, says: str
) -> None:
    operator.create_secret("team-discord", {"LORABOT_DISCORD_TOKEN": token})

    result = lorabot(*DEPLOY)
    found = server_finding()
    operator.create_secret("team-discord", {"LORABOT_DISCORD_TOKEN": discord.server.bot_token})
    repaired = lorabot(*DEPLOY)

    assert (result.code, result.out) == (1, "")
    assert f"Everything is deployed, but the bot cannot start: {says}" in result.err
    assert "modal secret create team-discord LORABOT_DISCORD_TOKEN=... --force" in result.err
    assert found["status"] == "failed"
    assert says in found["text"]
    assert repaired.code == 0
    assert server_finding()["status"] == "fine"


@pytest.mark.usefixtures("deployed")
def test_the_report_of_another_copy_is_ignored(
    operator: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    def says(line: str) -> None:
        if "Waiting for the bot" in line:
            for name in ("", "0123"):  # of no deploy, and of another one
                board = modal.Dict.from_name("team-progress")
                board.put(
                    report_key(name), StartupReport(cause="It is not this one.").model_dump_json()
                )

    result = deploy("team", os.environ, says)

    assert result.deployment.engine == "rehearsal"


@pytest.mark.usefixtures("deployed")
def test_an_app_of_another_project_is_not_replaced(operator: Loopback) -> None:
    app = operator.plane.apps.deployed("team")
    assert app is not None
    before, app.labels = app.labels, {}

    result = lorabot(*DEPLOY)
    app.labels = before

    assert (result.code, result.out) == (1, "")
    assert "has an app team that belongs to another project" in result.err


@pytest.mark.usefixtures("deployed")
def test_two_deploys_do_not_run_at_once(operator: Loopback) -> None:
    leases = open_runtime(Deployment(name="team")).runtime.leases
    with hold_lease(leases, "deploy"):
        result = lorabot(*DEPLOY)

    assert (result.code, result.out) == (1, "")
    assert "Another deploy of this deployment is running" in result.err


@pytest.mark.usefixtures("deployed")
def test_open_runs_of_another_engine_are_named_and_nothing_is_deployed(operator: Loopback) -> None:
    parts = open_runtime(Deployment(name="team", engine="rehearsal"))
    idle = replace(parts.runtime, remote_advance=nobody_advances)
    archive = write_zip(Path(os.environ["LORABOT_HOME"]) / "a.zip", guide_files(images=2, clips=0))
    Datasets(idle.store).add("1", "annika", Upload(archive=archive, by="7", file_name="a.zip"))
    index = SqliteRunIndex(archive.with_name("index.sqlite"))
    request = TrainRequest(model="wan21-t2v-1-3b", dataset="annika", name="mine")
    Runs(idle, index).start(request, Requester(guild="1", by="7"), "rehearsal")

    result = lorabot(*DEPLOY, "--engine", "musubi")

    assert (result.code, result.out) == (1, "")
    assert "and would fail: mine." in result.err
    assert operator.variables("Bot")["LORABOT_ENGINE"] == "rehearsal"


def nobody_advances(_guild: str, _run: str) -> None:
    """Leave a run as it is."""


def server_finding() -> dict[str, str]:
    """Return what the doctor says of the bot's server."""
    found = lorabot("doctor", "--json", "--backend", "modal", "--app", "team").json()
    return next(finding for finding in found if finding["check"] == "bot's server")
