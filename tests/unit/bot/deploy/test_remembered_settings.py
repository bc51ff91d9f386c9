"""The settings of a deployment: set now, kept from before, or reset to their defaults."""

from pathlib import Path

import pytest

from bot.deploy.remembered_settings import RememberedSettings, last_deploy
from bot.settings import Settings
from storage.local.store import FolderStore
from training import store_keys
from training.errors import RequestError

BEFORE = {"LORABOT_ENGINE": "rehearsal", "LORABOT_TEAM_ROLE": "team", "LORABOT_GPU_STAGES": "2"}


def test_unset_variables_stay_and_empty_ones_are_reset() -> None:
    environment = {"LORABOT_TEAM_ROLE": "", "LORABOT_GPU_STAGES": "3", "HOME": "/root"}

    settings = RememberedSettings.merge(environment, BEFORE)

    assert settings.variables == {"LORABOT_ENGINE": "rehearsal", "LORABOT_GPU_STAGES": "3"}
    deployment = settings.deployment("team")
    assert (deployment.name, deployment.engine, deployment.gpu_stages) == ("team", "rehearsal", 3)
    assert settings.lines() == [
        "LORABOT_GPU_STAGES changes from 2 to 3.",
        "LORABOT_TEAM_ROLE changes from team to its default.",
        "Kept from the last deploy: LORABOT_ENGINE=rehearsal. An empty value resets a variable.",
    ]


def test_the_first_deploy_reports_nothing_and_uses_the_defaults() -> None:
    settings = RememberedSettings.merge({}, {})

    assert settings.lines() == []
    assert settings.deployment("team").engine == Settings.model_fields["engine"].default


def test_secrets_and_settings_of_the_machine_are_not_remembered() -> None:
    names = ("LORABOT_DISCORD_TOKEN", "HF_TOKEN", "LORABOT_HOME", "LORABOT_MUSUBI_DIR")

    merged = RememberedSettings.merge(dict.fromkeys(names, "x"), dict.fromkeys(names, "y"))

    assert merged.variables == {}


def test_the_last_deploy_is_read_back_and_a_damaged_record_is_reported(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    first = last_deploy(store)
    RememberedSettings.merge(BEFORE, {}).save(store)

    assert first == {}
    assert last_deploy(store) == BEFORE
    store.write(store_keys.DEPLOYMENT, b"{")
    with pytest.raises(RequestError, match="is damaged"):
        last_deploy(store)
