"""A rehearsal fails at the file that a real run could not download, and asks for no other."""

from pathlib import Path

import pytest

from tests.media import guide_files
from tests.pipeline.home import GUILD
from tests.pipeline.stages import IdleRuntime, Stages
from tests.wire.hub.hub_server import HubState
from training.musubi.hub import Hub
from training.operations.run_drafts import Requester
from training.ports import Engine
from training.rehearsal.engine import RehearsalEngine
from training.runs.spec import TrainRequest
from training.runs.state import StageStatus
from training.vocabulary import EngineName, StageKey

FETCH = StageKey("fetch")
REPO, FILE = "owner/loras", "fast.safetensors"


@pytest.fixture
def stages(server: HubState, tmp_path: Path) -> Stages:
    server.files = {(REPO, FILE): b"weights"}

    class OnThisHub(IdleRuntime):
        def engine(self, name: EngineName) -> Engine:
            assert name == "rehearsal"
            return RehearsalEngine(Hub(server.url, is_patient=False))

    found = Stages(tmp_path, OnThisHub)
    found.upload(guide_files(images=1, clips=0))
    return found


@pytest.mark.parametrize(
    ("lightning_file", "cause"),
    [
        (f"{REPO}:{FILE}", ""),
        (f"{REPO}:slow.safetensors", f"{REPO} has no file slow.safetensors at main."),
        ("no/such:fast.safetensors", "The repository no/such does not exist or is private."),
        ("none.safetensors", "lightx2v/Wan2.2-Lightning"),  # a path in the usual repository
    ],
)
def test_a_lightning_file_must_exist_even_for_a_rehearsal(
    lightning_file: str, cause: str, stages: Stages, server: HubState
) -> None:
    request = TrainRequest(
        model="wan22-t2v-lightning",
        dataset="annika",
        settings={"epochs": "1", "lightning_file": lightning_file},
    )
    spec = stages.local.runs.start(request, Requester(guild=GUILD, by="7"), "rehearsal")

    status = stages.run(spec, FETCH)

    assert status is (StageStatus.FAILED if cause else StageStatus.SUCCEEDED)
    assert cause in stages.state(spec, FETCH).cause
    assert server.gets() == []
    assert {lightning_file.split(":")[-1] in one.path for one in server.requests} == {True}
