"""Weight files from the Hub are complete and verified, and interrupted downloads resume."""

import hashlib
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.pipeline.disk import small_disk
from tests.wire.hub.hub_server import COMMIT, HubState
from training.catalogue.models import WeightFile, find_model
from training.errors import StageError
from training.musubi.hub import Hub
from training.rehearsal.engine import RehearsalEngine
from training.remedies import ResumeRun

REPO = "owner/model"
WEIGHT = WeightFile(REPO, "split_files/base.safetensors")
SMALL = WeightFile(REPO, "tokenizer/config.json", revision=COMMIT)
MIB = 1 << 20
LARGE = random.Random(1).randbytes(24 * MIB)
CHUNKS = 20 * MIB  # what the client has written of 22 MiB: it takes 10 at a time


@pytest.fixture(autouse=True)
def _files(server: HubState) -> None:
    server.files = {(REPO, WEIGHT.file): LARGE, (REPO, SMALL.file): b'{"a": 1}\n'}


@pytest.fixture
def hub(server: HubState) -> Hub:
    return Hub(server.url, is_patient=False)


def ignore(here: int) -> None:
    pass


def refusal(hub: Hub, weight: WeightFile, target: Path) -> StageError:
    with pytest.raises(StageError) as caught:
        hub.obtain(weight, target, ignore)
    assert not target.exists()
    return caught.value


def test_a_file_arrives_whole_with_its_commit_and_hash(
    hub: Hub, server: HubState, tmp_path: Path
) -> None:
    target = tmp_path / "base.safetensors"
    watched: list[int] = []

    obtained = hub.obtain(WEIGHT, target, watched.append)

    assert target.read_bytes() == LARGE
    assert obtained.revision == COMMIT
    assert obtained.sha256 == hashlib.sha256(LARGE).hexdigest()
    assert (watched[0], watched[-1]) == (0, len(LARGE))
    assert watched == sorted(watched)
    assert [path.name for path in tmp_path.iterdir()] == ["base.safetensors"]
    assert [request.path.split("/")[1] for request in server.requests] == ["owner", "storage"]


def test_a_small_file_is_checked_by_its_git_hash(
    hub: Hub, server: HubState, tmp_path: Path
) -> None:
    assert hub.obtain(SMALL, tmp_path / "good", ignore).revision == COMMIT
    server.damage = True

    assert "damaged in transit" in refusal(hub, SMALL, tmp_path / "bad").cause


_DOWNLOAD = """
import sys
from pathlib import Path
from training.catalogue.models import WeightFile, find_model
from training.musubi.hub import Hub
from training.rehearsal.engine import RehearsalEngine
Hub().obtain(WeightFile(sys.argv[1], sys.argv[2]), Path(sys.argv[3]), lambda here: None)
"""


def test_a_killed_download_continues_where_it_stopped(
    hub: Hub, server: HubState, tmp_path: Path
) -> None:
    target = tmp_path / "base.safetensors"
    server.hold_after = 22 * MIB
    command = [sys.executable, "-c", _DOWNLOAD, REPO, WEIGHT.file, str(target)]
    process = subprocess.Popen(command, env={**os.environ, "HF_ENDPOINT": server.url})
    assert server.held.wait(30)
    wait_for(tmp_path, CHUNKS)

    process.kill()
    process.wait()
    server.hold_after = None
    server.release.set()
    before = hub.extent(WEIGHT, target)
    watched: list[int] = []
    hub.obtain(WEIGHT, target, watched.append)

    assert (before.here_bytes, before.size_bytes) == (CHUNKS, len(LARGE))
    assert watched[0] == CHUNKS
    assert server.gets()[-1].range == f"bytes={CHUNKS}-"
    assert target.read_bytes() == LARGE
    assert [path.name for path in tmp_path.iterdir()] == ["base.safetensors"]


def test_a_stopped_download_keeps_what_it_has(hub: Hub, server: HubState, tmp_path: Path) -> None:
    class StoppedError(Exception):
        pass

    def stop(here: int) -> None:
        if here:
            raise StoppedError

    with pytest.raises(StoppedError):
        hub.obtain(WEIGHT, tmp_path / "base", stop)
    hub.obtain(WEIGHT, tmp_path / "base", ignore)

    assert server.gets()[-1].range == f"bytes={10 * MIB}-"
    assert (tmp_path / "base").read_bytes() == LARGE


def test_a_partial_download_of_other_content_is_not_continued(
    hub: Hub, server: HubState, tmp_path: Path
) -> None:
    (tmp_path / f".base.{'0' * 16}.partial").write_bytes(b"of an older commit")

    hub.obtain(WEIGHT, tmp_path / "base", ignore)

    assert server.gets()[-1].range is None
    assert [path.name for path in tmp_path.iterdir()] == ["base"]


def test_a_damaged_part_is_detected_and_fetched_again(
    hub: Hub, server: HubState, tmp_path: Path
) -> None:
    server.damage = True
    assert "damaged in transit" in refusal(hub, WEIGHT, tmp_path / "base").cause
    server.damage = False

    hub.obtain(WEIGHT, tmp_path / "base", ignore)

    assert server.gets()[-1].range is None


def test_a_file_with_another_hash_than_the_catalogues_is_refused_before_the_download(
    hub: Hub, server: HubState, tmp_path: Path
) -> None:
    pinned = WeightFile(REPO, WEIGHT.file, sha256="0" * 64)

    error = refusal(hub, pinned, tmp_path / "base")

    assert "is not the file in the catalogue" in error.cause
    assert not server.gets()


def test_the_token_goes_to_the_hub_and_not_to_its_storage(
    hub: Hub, server: HubState, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.gated = {REPO}
    monkeypatch.setenv("HF_TOKEN", "agreed")

    hub.obtain(WEIGHT, tmp_path / "base", ignore)

    assert [request.token for request in server.requests] == ["Bearer agreed", None]


@pytest.mark.parametrize("token", [None, "other"])
def test_a_gated_file_names_the_licence_and_the_token(
    token: str | None,
    hub: Hub,
    server: HubState,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server.gated = {REPO}
    if token is not None:
        monkeypatch.setenv("HF_TOKEN", token)

    error = refusal(hub, WEIGHT, tmp_path / "base")

    assert "requires accepting the licence" in error.cause
    assert f"{server.url}/{REPO}" in error.fix
    assert "HF_TOKEN" in error.fix
    assert "https://huggingface.co/settings/tokens" in error.fix


@pytest.mark.parametrize(
    ("weight", "cause", "fix"),
    [
        (WeightFile("owner/none", "a"), "repository owner/none does not exist", "HF_TOKEN"),
        (WeightFile(REPO, "a", revision="v9"), "no revision v9", "/owner/model/commits/main"),
        (WeightFile(REPO, "none"), "no file none at main", "/owner/model/tree/main"),
    ],
)
def test_a_missing_file_is_named_with_the_page_to_look_at(
    weight: WeightFile, cause: str, fix: str, hub: Hub, tmp_path: Path
) -> None:
    error = refusal(hub, weight, tmp_path / "base")

    assert cause in error.cause
    assert fix in error.fix


def test_an_invalid_token_is_reported(hub: Hub, server: HubState, tmp_path: Path) -> None:
    server.refusal = (401, "Invalid credentials in Authorization header")

    error = refusal(hub, WEIGHT, tmp_path / "base")

    assert "rejected the HF_TOKEN" in error.cause
    assert "https://huggingface.co/settings/tokens" in error.fix


def test_an_expired_storage_link_does_not_blame_the_token(
    hub: Hub, server: HubState, tmp_path: Path
) -> None:
    server.link_ends = True

    error = refusal(hub, WEIGHT, tmp_path / "base")

    assert "HF_TOKEN" not in f"{error}"
    assert error.remedy == ResumeRun()
    server.link_ends = False
    hub.obtain(WEIGHT, tmp_path / "base", ignore)
    assert (tmp_path / "base").read_bytes() == LARGE


def test_a_failing_hub_is_retried_later(hub: Hub, server: HubState, tmp_path: Path) -> None:
    server.refusal = (503, "down")

    error = refusal(hub, WEIGHT, tmp_path / "base")

    assert "HTTP 503" in error.cause
    assert "in a few minutes" in error.fix


def test_an_unreachable_hub_is_reported(tmp_path: Path) -> None:
    nobody = "http://127.0.0.1:9"  # the discard port

    error = refusal(Hub(nobody, is_patient=False), WEIGHT, tmp_path / "base")

    assert nobody in error.cause
    assert "Check the network" in error.fix


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk_is_reported_before_anything_is_fetched(
    hub: Hub, server: HubState, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "disk", "10m"):
        error = refusal(hub, WEIGHT, tmp_path / "disk" / "base")

    assert "left, and split_files/base.safetensors needs 24 MiB" in error.cause
    assert "Free up space" in error.fix
    assert not server.gets()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_disk_that_fills_up_is_reported_and_keeps_what_arrived(
    hub: Hub, server: HubState, tmp_path: Path
) -> None:
    folder = tmp_path / "disk"

    def fill(here: int) -> None:
        if here:
            (folder / "others").write_bytes(bytes(20 * MIB))

    with small_disk(folder, "40m"):
        with pytest.raises(StageError) as caught:
            hub.obtain(WEIGHT, folder / "base", fill)
        (folder / "others").unlink()
        hub.obtain(WEIGHT, folder / "base", ignore)

        assert "The disk is full" in caught.value.cause
        assert str(folder) in caught.value.fix
        assert server.gets()[-1].range is not None
        assert (folder / "base").read_bytes() == LARGE


def wait_for(folder: Path, size_bytes: int) -> None:
    deadline = time.monotonic() + 30
    while sum(path.stat().st_size for path in folder.iterdir()) < size_bytes:
        assert time.monotonic() < deadline


def test_a_rehearsal_refuses_a_file_that_a_real_run_could_not_download(
    hub: Hub, tmp_path: Path
) -> None:
    missing = WeightFile(REPO, "no/such.safetensors")
    expected = refusal(hub, missing, tmp_path / "real")

    with pytest.raises(StageError) as caught:
        RehearsalEngine(hub).extent(missing, tmp_path / "rehearsed")

    assert caught.value.args == expected.args
    assert "has no file no/such.safetensors" in caught.value.cause


def test_a_rehearsal_downloads_nothing_and_asks_for_no_file_of_the_catalogue(
    hub: Hub, server: HubState, tmp_path: Path
) -> None:
    engine = RehearsalEngine(hub)

    assert engine.extent(WEIGHT, tmp_path / "own").size_bytes == 0
    asked = len(server.requests)
    for weight in find_model("wan22-i2v-lightning").weight_files:
        assert engine.extent(weight, tmp_path / "known").size_bytes == 0

    assert asked == 1
    assert len(server.requests) == asked
