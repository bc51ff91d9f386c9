"""The real musubi-tuner on all eight models, and both engines on each other's caches."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.adapters import SPELLINGS, respelled, tensors, write_adapter
from tests.ml.rehearsal.workspace import DATE
from tests.musubi.checkout import ITEMS, Checkout, names
from tests.musubi.layouts import describe_caches, describe_run, read_snapshot, rehearse_caches
from training.catalogue.models import MODELS, Expert, Model, find_model
from training.files.safetensors_header import read_header
from training.lora.contents import read_contents
from training.lora.rewrite import as_musubi_names
from training.rehearsal.__main__ import main
from training.rehearsal.model.shape import adapter_widths
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
    modules = adapter_widths(clip=model.clip)
    assert set(header.tensors) == {
        f"lora_unet_{module.replace('.', '_')}.{part}"
        for module in modules
        for part in ("alpha", "lora_down.weight", "lora_up.weight")
    }
    assert {tensor.dtype for tensor in header.tensors.values()} == {"BF16"}


def test_loraplus_and_the_time_embedding_of_wan21_train_wan22(
    checkout: Checkout, all_caches: dict[tuple[bool, bool], Path], tmp_path: Path
) -> None:
    model = find_model("wan22-i2v-vanilla")

    def moved(name: str, **settings: float | bool) -> dict[str, float]:
        caches, out = all_caches[model.i2v, model.clip], tmp_path / name
        command = checkout.train(model, model.expert("high"), caches, out, epochs=1)
        changed = command.settings.model_copy(update=settings)
        outcome = checkout.run(replace(command, settings=changed), out / "log")
        assert [step[0] for step in outcome.steps] == [1, 2, 3, 4]
        header = read_header(out / "lora.safetensors")
        return {
            part: float(
                np.mean([np.abs(header.read(key)).mean() for key in header.tensors if part in key])
            )
            for part in ("lora_up", "lora_down")
        }

    plain = moved("plain")
    same = moved("same", force_v2_1_time_embedding=True)
    faster = moved("faster", force_v2_1_time_embedding=True, loraplus_lr_ratio=4.0)

    assert same == pytest.approx(plain, rel=0.05)
    assert faster["lora_up"] > 2.5 * plain["lora_up"]
    assert faster["lora_down"] == pytest.approx(plain["lora_down"], rel=0.05)


@pytest.mark.parametrize("name", ["diffusers", "videox-fun", "peft-diffusers"])
def test_musubi_starts_from_a_lora_of_another_trainer_once_it_is_converted(
    checkout: Checkout, all_caches: dict[tuple[bool, bool], Path], tmp_path: Path, name: str
) -> None:
    model = find_model("wan22-i2v-vanilla")
    musubi = tensors(adapter_widths(clip=model.clip), up=0.01)
    path = write_adapter(tmp_path / "other.safetensors", respelled(musubi, SPELLINGS[name]))
    as_musubi_names(read_contents(path), tmp_path / "start.safetensors")
    caches = all_caches[model.i2v, model.clip]
    command = checkout.train(model, model.expert("high"), caches, tmp_path / "out", epochs=1)
    settings = command.settings.model_copy(update={"rank": 4, "alpha": 4.0, "learning_rate": 1e-12})

    command = replace(
        command, settings=settings, network_weights=tmp_path / "start.safetensors", resume=None
    )
    checkout.run(command, tmp_path / "out/log")

    header = read_header(tmp_path / "out/lora.safetensors")
    for key, values in musubi.items():
        expected = np.asarray(values, np.float32)
        assert np.allclose(header.read(key), expected, rtol=2**-8, atol=1e-6), key


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
