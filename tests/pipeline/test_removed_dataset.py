"""A run whose dataset was removed says so, unless the files it needs still exist."""

from pathlib import Path

from tests.media import guide_files
from tests.pipeline.home import GUILD
from tests.pipeline.stages import Stages
from training.runs.state import StageStatus
from training.vocabulary import StageKey

PREPARE = StageKey("prepare")


def test_a_run_of_a_removed_dataset_fails_naming_the_removal(tmp_path: Path) -> None:
    stages = Stages(tmp_path)
    stages.upload(guide_files(images=2, clips=0))
    spec = stages.begin()
    stages.local.datasets.delete(GUILD, "annika", 1)

    assert stages.run(spec, PREPARE) is StageStatus.FAILED

    assert "annika@1 was removed" in stages.state(spec, PREPARE).cause


def test_a_set_kept_by_another_version_is_taken_from_there(tmp_path: Path) -> None:
    stages = Stages(tmp_path)
    stages.upload(guide_files(images=2, clips=0))
    first = stages.begin()
    assert stages.run(first, PREPARE) is StageStatus.SUCCEEDED
    second = stages.begin()
    stages.local.datasets.delete(GUILD, "annika", 1)
    stages.upload(guide_files(images=2, clips=0))
    third = stages.begin()
    assert stages.run(third, PREPARE) is StageStatus.SUCCEEDED

    assert stages.run(second, PREPARE) is StageStatus.SUCCEEDED
