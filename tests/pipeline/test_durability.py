"""What users and later stages rely on is on disk before anybody is told that it is there."""

from pathlib import Path

import pytest

from tests.media import guide_files
from tests.pipeline.home import GUILD
from tests.pipeline.stages import Stages
from tests.synced import Synced
from training.runs.state import StageStatus
from training.vocabulary import StageKey


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> Synced:
    return Synced(monkeypatch)


def test_what_is_stored_survives_a_power_cut(tmp_path: Path, synced: Synced) -> None:
    stages = Stages(tmp_path)
    home = stages.local.home
    stages.upload(guide_files(images=2, clips=1, frames=49))
    dataset = synced.lost(home / f"guilds/{GUILD}/datasets")

    spec = stages.begin("wan22-t2v-lightning")
    run = synced.lost(home / f"guilds/{GUILD}/runs", home / "open")
    for key in (StageKey("prepare"), StageKey("fetch"), StageKey("merge", "high")):
        assert stages.run(spec, key) is StageStatus.SUCCEEDED
    prepared = synced.lost(home / f"guilds/{GUILD}/prepared")
    models = synced.lost(home / "models", home / "merged")
    assert stages.run(spec, StageKey("cache")) is StageStatus.SUCCEEDED
    caches = synced.lost(home / f"guilds/{GUILD}/caches")

    assert (dataset, run, prepared, models, caches) == ([], [], [], [], [])
