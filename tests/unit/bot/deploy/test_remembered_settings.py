"""What a deployment is told: named now, kept from before, or back at its default."""

from pathlib import Path

import pytest

from bot.deploy.remembered_settings import RememberedSettings, keep_told, read_told
from bot.settings import Settings
from storage.local.store import FolderStore
from training import store_keys
from training.errors import RequestError

BEFORE = {"LORABOT_ENGINE": "rehearsal", "LORABOT_TEAM_ROLE": "team", "LORABOT_GPU_STAGES": "2"}


def test_what_is_not_named_stays_and_what_is_set_to_nothing_goes() -> None:
    environment = {"LORABOT_TEAM_ROLE": "", "LORABOT_GPU_STAGES": "3", "HOME": "/root"}

    told = RememberedSettings.merge(environment, BEFORE)

    assert told.variables == {"LORABOT_ENGINE": "rehearsal", "LORABOT_GPU_STAGES": "3"}
    deployment = told.deployment("team")
    assert (deployment.name, deployment.engine, deployment.gpu_stages) == ("team", "rehearsal", 3)
    assert told.lines() == [
        "LORABOT_GPU_STAGES changes from 2 to 3.",
        "LORABOT_TEAM_ROLE changes from team to its default.",
        "Kept from the last deploy: LORABOT_ENGINE=rehearsal. Set one to nothing to reset it.",
    ]


def test_the_first_time_nothing_is_told_and_all_has_its_default() -> None:
    told = RememberedSettings.merge({}, {})

    assert told.lines() == []
    assert told.deployment("team").engine == Settings.model_fields["engine"].default


def test_no_secret_and_nothing_of_the_machine_is_kept() -> None:
    names = ("LORABOT_DISCORD_TOKEN", "HF_TOKEN", "LORABOT_HOME", "LORABOT_MUSUBI_DIR")

    assert (
        RememberedSettings.merge(dict.fromkeys(names, "x"), dict.fromkeys(names, "y")).variables
        == {}
    )


def test_what_was_told_is_read_back_and_a_damaged_record_is_said(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    first = read_told(store)
    keep_told(store, RememberedSettings.merge(BEFORE, {}))

    assert first == {}
    assert read_told(store) == BEFORE
    store.write(store_keys.DEPLOYMENT, b"{")
    with pytest.raises(RequestError, match="is damaged"):
        read_told(store)
