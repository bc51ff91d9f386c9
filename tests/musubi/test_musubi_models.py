"""The real musubi-tuner on all eight models, and both engines on each other's caches."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.ml.rehearsal.workspace import DATE
from tests.musubi.checkout import ITEMS, Checkout, names
from tests.musubi.layouts import describe_caches, describe_run, read_snapshot, rehearse_caches
from training.catalogue.models import MODELS, Expert, Model, find_model
from training.files.safetensors_header import read_header
from training.rehearsal.__main__ import main
from training.rehearsal.model.shape import adapter_modules
from training.runs.training_events import CacheProgress, CheckpointSaved

pytestmark = [pytest.mark.musubi, pytest.mark.timeout(900)]

EVERY = [(model, expert) for model in MODELS for expert in model.experts]
LATENTS = ("wan21-t2v-14b", "wan22-i2v-vanilla")  # the fixture makes those with CLIP


@pytest.fixture(scope="session")
def all_caches(checkout: Checkout, caches: Path) -> dict[tuple[bool, bool], Path]:
    """The caches for every combination of first frames and CLIP, made by each model's command."""
    found = {(True, True): caches}
    for name in LATENTS:
        model, folder = find_model(name), checkout.root / f"caches-{name}"
        outcome = checkout.run(checkout.cache_latents(model, folder), folder / "latents.log")
        assert outcome.events[-1] == CacheProgress(done=3, total=3)
        for path in caches.glob("*/*_te.safetensors"):
            (folder / path.relative_to(caches)).hardlink_to(path)
        found[model.i2v, model.clip] = folder
    return found


@pytest.mark.parametrize(("model", "expert"), EVERY, ids=lambda value: getattr(value, "name", ""))
def test_every_model_goes_from_media_to_a_checkpoint(
    checkout: Checkout,
    all_caches: dict[tuple[bool, bool], Path],
    tmp_path: Path,
    model: Model,
    expert: Expert,
) -> None:
    command = checkout.train(model, expert, all_caches[model.i2v, model.clip], tmp_path, epochs=1)

    outcome = checkout.run(command, tmp_path / "log")

    assert [step[0] for step in outcome.steps] == [1, 2, 3, 4]
    assert isinstance(outcome.events[-1], CheckpointSaved)
    header = read_header(tmp_path / "lora.safetensors")
    modules = adapter_modules(clip=model.clip)
    assert set(header.tensors) == {
        f"lora_unet_{module.replace('.', '_')}.{part}"
        for module in modules
        for part in ("alpha", "lora_down.weight", "lora_up.weight")
    }
    assert {tensor.dtype for tensor in header.tensors.values()} == {"BF16"}


def test_musubi_trains_on_the_rehearsals_caches(checkout: Checkout, tmp_path: Path) -> None:
    model = find_model("wan21-i2v-720p")
    folder = tmp_path / "caches"
    rehearse_caches(replace(checkout, root=tmp_path), model, folder)
    train = checkout.train(model, model.expert("main"), folder, tmp_path / "out", epochs=1)

    outcome = checkout.run(train, tmp_path / "log")

    assert [step[0] for step in outcome.steps] == [1, 2, 3, 4]
    assert (tmp_path / "out/lora.safetensors").exists()


def test_the_rehearsal_trains_on_musubis_caches(
    checkout: Checkout, caches: Path, tmp_path: Path
) -> None:
    model = find_model("wan21-i2v-720p")
    train = checkout.train(model, model.expert("main"), caches, tmp_path)
    base = replace(train.dit, path=checkout.base(model, is_rehearsal=True))
    train = replace(train, dit=base)

    assert main([train.script, *train.arguments()], DATE) == 0

    assert "lora.safetensors" in names(tmp_path)


def test_the_committed_layouts_are_those_of_this_checkout(
    checkout: Checkout, caches: Path, tmp_path: Path
) -> None:
    model = find_model("wan21-i2v-720p")
    train = checkout.train(model, model.expert("main"), caches, tmp_path)
    checkout.run(train, tmp_path / "log")

    found = {"caches": describe_caches(caches), "run": describe_run(tmp_path)}

    assert found == read_snapshot(), json.dumps(found)
    assert len(list(caches.glob("*/*_wan.safetensors"))) == ITEMS
