"""The fetch stage: what a model needs, once for all runs, where the trainer finds it offline."""

import json
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier

import pytest

from tests.media import guide_files
from tests.pipeline.disk import small_disk
from tests.pipeline.stages import IdleRuntime, Stages
from tests.wire.hub.hub_server import COMMIT, HubState
from training import store_keys
from training.catalogue import weights
from training.catalogue.models import Model, WeightFile, find_model
from training.files.hashing import file_sha256
from training.musubi.engine import MusubiEngine
from training.musubi.hub import Hub
from training.ports import Engine
from training.runs.spec import RunSpec
from training.runs.state import StageStatus
from training.vocabulary import EngineName, StageKey

FETCH = StageKey("fetch")
MODEL = "wan21-i2v-720p"


def bare(weight: WeightFile) -> WeightFile:
    """Return the file without its known hash, because the test has other contents."""
    return WeightFile(weight.repo, weight.file)


def bare_model(name: str) -> Model:
    model = find_model(name)
    clip = bare(model.clip_weights) if model.clip_weights else None
    experts = tuple(replace(expert, dit=bare(expert.dit)) for expert in model.experts)
    return replace(
        model, experts=experts, vae=bare(model.vae), t5=bare(model.t5), clip_weights=clip
    )


@pytest.fixture
def files(server: HubState, monkeypatch: pytest.MonkeyPatch) -> Mapping[tuple[str, str], bytes]:
    """Fill the Hub with files that the model needs, and with others."""
    for name in ("T5_TOKENIZER", "CLIP_TOKENIZER"):
        found = tuple(bare(weight) for weight in getattr(weights, name))
        monkeypatch.setattr(weights, name, found)
    monkeypatch.setattr("training.pipeline.runtime.find_model", bare_model)
    model = bare_model(MODEL)
    wanted = [model.vae, model.t5, model.clip_weights, model.experts[0].dit, *model.tokenizers]
    server.files = {
        (weight.repo, weight.file): f"{weight}".encode() * (1 if "json" in weight.file else 500)
        for weight in wanted
        if weight is not None
    }
    server.files[model.vae.repo, "split_files/vae/other.safetensors"] = b"not asked for"
    return dict(server.files)


@pytest.fixture
def stages(tmp_path: Path, server: HubState) -> Stages:
    class HubRuntime(IdleRuntime):
        def engine(self, name: EngineName) -> Engine:
            return MusubiEngine(
                Path("/checkout"), Path("/python"), hub=Hub(server.url, is_patient=False)
            )

    found = Stages(tmp_path, HubRuntime)
    found.upload(guide_files(images=1, clips=1))
    return found


def progress(stages: Stages, spec: RunSpec) -> dict[str, int]:
    """Return the bytes so far and in all."""
    told = json.loads(stages.local.runtime.store.read(spec.keys.progress(FETCH)))
    return {name: told[name] for name in ("done", "total")}


def test_only_the_files_that_a_model_needs_are_fetched_and_only_once(
    stages: Stages, server: HubState, files: Mapping[tuple[str, str], bytes]
) -> None:
    first = stages.begin(MODEL)
    assert stages.run(first, FETCH) is StageStatus.SUCCEEDED, stages.cause(first)
    asked = len(server.requests)
    second = stages.begin(MODEL)
    assert stages.run(second, FETCH) is StageStatus.SUCCEEDED

    wanted = {key: data for key, data in files.items() if data != b"not asked for"}
    store = stages.local.runtime.store
    for (repo, file), data in wanted.items():
        weight = WeightFile(repo, file)
        assert store.read(store_keys.weight("musubi", weight)) == data
        receipt = json.loads(store.read(store_keys.weight_receipt("musubi", weight)))
        assert receipt["revision"] == COMMIT
        assert receipt["size_bytes"] == len(data)
        assert receipt["sha256"] == file_sha256(store.path(store_keys.weight("musubi", weight)))
    fetched = [
        p for p in stages.local.home.glob("models/**/*") if p.is_file() and not p.is_symlink()
    ]
    receipts = [path for path in fetched if path.name.endswith(".receipt.json")]
    references = [path for path in fetched if path.name == "main"]
    assert len(fetched) - len(receipts) - len(references) == len(receipts) == len(wanted)
    assert len(server.requests) == asked
    assert stages.state(second, FETCH).reused


def clip_reader(engine: MusubiEngine) -> str:  # there is no checkout to ask
    return "PyAV 14.0.1"


@pytest.mark.usefixtures("files")
def test_the_trainer_finds_its_tokenizers_without_the_network(
    stages: Stages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MusubiEngine, "clip_reader", clip_reader)
    spec = stages.make_ready(stages.begin(MODEL))

    # There is no checkout to cache with, but the files that it would look for are in place.
    assert stages.run(spec, StageKey("cache")) is StageStatus.FAILED

    environment = stages.local.runtime.planner(spec).environment()
    hub = Path(environment["HF_HUB_CACHE"])
    assert environment["HF_HUB_OFFLINE"] == "1"
    for weight in bare_model(MODEL).tokenizers:
        repo = hub / f"models--{weight.repo.replace('/', '--')}"
        commit = (repo / "refs/main").read_text()
        found = repo / "snapshots" / commit / weight.file
        assert found.read_bytes() == stages.local.runtime.store.read(
            store_keys.weight("musubi", weight)
        )


def test_progress_is_reported_in_bytes(
    stages: Stages, files: Mapping[tuple[str, str], bytes]
) -> None:
    spec = stages.begin(MODEL)

    stages.run(spec, FETCH)

    weight_files = stages.local.runtime.planner(spec).weight_files()
    sizes = [len(files[weight.repo, weight.file]) for weight in weight_files]
    assert progress(stages, spec) == {"done": sum(sizes), "total": sum(sizes)}


def test_a_file_that_became_shorter_is_fetched_again(
    stages: Stages, files: Mapping[tuple[str, str], bytes]
) -> None:
    first = stages.begin(MODEL)
    assert stages.run(first, FETCH) is StageStatus.SUCCEEDED
    vae = bare_model(MODEL).vae
    path = stages.local.runtime.store.path(store_keys.weight("musubi", vae))
    path.write_bytes(path.read_bytes()[:-1])

    second = stages.begin(MODEL)
    assert stages.run(second, FETCH) is StageStatus.SUCCEEDED

    assert path.read_bytes() == files[vae.repo, vae.file]
    assert stages.state(second, FETCH).note == "1 of 12 files fetched"


def test_of_concurrent_fetches_one_downloads_and_all_show_progress(
    stages: Stages,
    server: HubState,
    files: Mapping[tuple[str, str], bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gate = Barrier(3)  # each run has seen that everything is missing

    def wait_for_all(folder: Path, need_bytes: int, what: str) -> None:
        gate.wait(30)

    monkeypatch.setattr("training.pipeline.stages.fetch.require_room", wait_for_all)
    specs = [stages.begin(MODEL) for _ in range(3)]

    with ThreadPoolExecutor() as pool:
        ends = list(pool.map(stages.run, specs, [FETCH] * 3))

    assert ends == [StageStatus.SUCCEEDED] * 3
    wanted = {key: data for key, data in files.items() if data != b"not asked for"}
    assert len(server.gets()) == len(wanted)
    total = sum(len(data) for data in wanted.values())
    assert [progress(stages, spec) for spec in specs] == [{"done": total, "total": total}] * 3


@pytest.mark.usefixtures("files")
def test_a_gated_repository_fails_the_run_with_its_page(stages: Stages, server: HubState) -> None:
    server.gated = {weights.WAN_21}
    spec = stages.begin(MODEL)

    assert stages.run(spec, FETCH) is StageStatus.FAILED

    state = stages.state(spec, FETCH)
    assert "requires accepting the licence" in state.cause
    assert f"{server.url}/{weights.WAN_21}" in state.fix


@pytest.mark.usefixtures("files")
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_nothing_is_fetched_without_room_for_everything(stages: Stages, server: HubState) -> None:
    with small_disk(stages.local.home / "models", "64k"):
        spec = stages.begin(MODEL)
        assert stages.run(spec, FETCH) is StageStatus.FAILED

    assert "fetching" in stages.state(spec, FETCH).cause
    assert not server.gets()
