"""Whole runs on Modal, undisturbed: to the end, and what they ask of Modal."""

from pathlib import Path

import pytest

from tests.media import guide_files, write_zip
from tests.wire.modal.counting import BOT, counted, total
from tests.wire.modal.installation import GUILD, PATIENT, Installation
from tests.wire.modal.invariants import check, executions, started_attempts
from training.registry.dataset_draft import Upload
from training.registry.datasets import Datasets
from training.runs.state import RunStatus, StageStatus
from training.vocabulary import StageKey

TRAIN = StageKey("train", "main")
# What is asked about files; how often leases are renewed depends on the machine. It was 225.
FILE_RPCS_OF_A_RUN = 260
EPOCHS = 4  # of which the later two supersede the training states of the first two
# Of a first run, which fetches the weights. Modal's client itself commits each mount when its
# container ends: 7 of the commits, which change nothing. Each epoch takes one commit, which stores
# its state and removes the superseded one, so a run of 2 epochs takes 10. The remove is that of the
# run's marker, the last write of all, by a container without mounts. The demo's run once took 41
# puts, 31 commits and 2 removes, which is too many.
WRITES_OF_A_RUN = {"VolumePutFiles": 13, "VolumeCommit": 8 + EPOCHS, "VolumeRemoveFile": 1}
LAYERS_OF_A_RUN = 15 + EPOCHS


def test_a_run_goes_from_a_dataset_to_published_checkpoints_and_asks_little_of_modal(
    installation: Installation,
) -> None:
    layers = layers_of(installation)
    with counted(installation.loopback) as asked:
        run = installation.start(held="training", env=PATIENT, epochs=f"{EPOCHS}")
        installation.until(run, lambda run: run.expert("main").epoch > 0)
        installation.view(run)
        with counted(installation.loopback) as again:
            view = installation.view(run)
        installation.hurry()
        found = installation.finish(run)

    assert found.status is RunStatus.SUCCEEDED
    assert [its.epoch for its in found.expert("main").checkpoints] == [1, 2, 3, 4]
    assert len([*installation.checkpoints(run).glob("*-state")]) == 2
    check(installation, run)
    assert view.progress[TRAIN].step > 0
    # One listing, the progress of the one stage that works, and files that have grown meanwhile.
    assert again[BOT]["VolumeListFiles"] == 1
    assert again[BOT]["DictGet"] == 1
    assert again[BOT].total() <= 4
    assert total(asked, "Volume", "Mount") <= FILE_RPCS_OF_A_RUN
    writes = {rpc: sum(its[rpc] for its in asked.values()) for rpc in WRITES_OF_A_RUN}
    assert all(writes[rpc] <= most for rpc, most in WRITES_OF_A_RUN.items()), asked
    assert layers_of(installation) - layers <= LAYERS_OF_A_RUN


def test_a_dataset_is_added_with_one_write(installation: Installation, tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "ben.zip", guide_files(images=2, clips=1, frames=49))
    upload = Upload(archive=archive, by="7", file_name="ben.zip")

    with counted(installation.loopback) as asked:
        Datasets(installation.parts.runtime.store).add(GUILD, "ben", upload)

    assert {rpc: asked[BOT][rpc] for rpc in WRITES_OF_A_RUN} == {
        "VolumePutFiles": 1,
        "VolumeCommit": 0,
        "VolumeRemoveFile": 0,
    }


def layers_of(installation: Installation) -> int:
    """Return how often the Volumes were changed."""
    return sum(its.changes for its in installation.loopback.plane.volumes.volumes.values())


@pytest.mark.slow
def test_both_experts_train_at_once_on_two_gpus_to_published_checkpoints(
    installation: Installation,
) -> None:
    experts = [StageKey("train", name) for name in ("high", "low")]
    run = installation.start("wan22-i2v-lightning", held="training")
    installation.until(
        run, lambda run: all(run.stage(key).status is StageStatus.RUNNING for key in experts)
    )
    installation.hurry()

    found = installation.finish(run)

    assert found.status is RunStatus.SUCCEEDED
    of_run = [its for its in executions(installation) if its.call.run == run]
    high, low = (its.attempt for its in of_run if its.call.key.stage == "train")
    assert high.ended is not None
    assert low.started < high.ended
    holds = [its for its in installation.loopback.gpu_log if its.function == "train"]
    assert len({hold.gpu for hold in holds}) == 2
    assert {hold.gpu_type for hold in holds} == {"H100"}
    check(installation, run)
    for expert in ("high", "low"):
        assert started_attempts(installation, run, StageKey("train", expert)) == [1]


@pytest.mark.slow
def test_a_second_run_fetches_caches_and_merges_nothing_again(installation: Installation) -> None:
    first = installation.finish(installation.start("wan22-i2v-lightning"))
    made = stored(installation)

    second = installation.finish(installation.start("wan22-i2v-lightning"))

    assert second.status is RunStatus.SUCCEEDED
    for name in ("prepare", "fetch", "cache"):
        assert second.stage(StageKey(name)).reused
    for expert in ("high", "low"):
        assert second.stage(StageKey("merge", expert)).reused
        assert not second.stage(StageKey("train", expert)).reused
    assert stored(installation) == made
    check(installation, first.spec.name, second.spec.name)


def stored(installation: Installation) -> dict[str, int]:
    """Return every file that runs share, with when it was written."""
    areas = (installation.committed("models"), installation.committed("datasets"))
    files = [path for area in areas for path in area.rglob("*") if path.is_file()]
    return {str(path): path.stat().st_mtime_ns for path in files}
