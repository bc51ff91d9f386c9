"""Rewriting a header completes metadata and converts names but never changes a tensor."""

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import (
    load_file,  # type: ignore[reportUnknownVariableType]  # its path type is open
)

from tests.adapters import SPELLINGS, respelled, tensors, widths, write_adapter
from tests.specs import spec
from training.catalogue.models import find_model
from training.errors import AdapterError
from training.files.safetensors_header import read_header
from training.lora.contents import read_contents
from training.lora.rewrite import as_musubi_names, with_metadata
from training.pipeline.stages.checkpoint_metadata import completed_metadata
from training.rehearsal.tensor_file import encode, serialize

MODEL = "wan22-i2v-lightning"


def metadata_of(path: Path) -> dict[str, str]:
    return read_header(path).metadata


def data_hash(path: Path) -> str:
    content = path.read_bytes()
    return hashlib.sha256(content[8 + int.from_bytes(content[:8], "little") :]).hexdigest()


def test_metadata_is_replaced_and_every_tensor_is_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    before = tensors(widths(MODEL))
    write_adapter(path, before, {"ss_epoch": "5", "ss_odd": 'ä "quoted" \n'})
    tensor_bytes = data_hash(path)

    header = read_header(path)
    with_metadata(header, {**header.metadata, "lorabot.model": MODEL}, path)

    after = load_file(path)
    assert after.keys() == before.keys()
    assert all(np.array_equal(after[key], before[key]) for key in before)
    assert data_hash(path) == tensor_bytes
    expected = {"ss_epoch": "5", "ss_odd": 'ä "quoted" \n', "lorabot.model": MODEL}
    assert metadata_of(path) == expected
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


def test_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    path = write_adapter(tmp_path / "a.safetensors", tensors(widths(MODEL)))
    written: list[bytes] = []
    for _ in range(2):
        with_metadata(read_header(path), {"b": "2", "a": "1"}, path)
        written.append(path.read_bytes())

    assert written[0] == written[1]


def test_the_hashes_by_which_web_uis_know_a_file_stay_right(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    training = {"ss_epoch": "5", "ss_network_dim": "4"}
    raw = {k: encode(v.astype(np.float32), "F16") for k, v in tensors(widths(MODEL)).items()}
    parts = serialize(raw, training)
    model_hash = hashlib.sha256(b"".join(parts[1:])).hexdigest()
    path.write_bytes(b"".join(serialize(raw, {**training, "sshs_model_hash": model_hash})))

    header = read_header(path)
    with_metadata(header, {**header.metadata, "lorabot.model": MODEL}, path)

    found = metadata_of(path)
    assert found["sshs_model_hash"] == data_hash(path)
    # The legacy hash covers only the tensors and the ss_ entries, which did not change.
    assert {k: v for k, v in found.items() if k.startswith("ss_")} == training


def test_a_full_disk_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_adapter(tmp_path / "a.safetensors", tensors(widths(MODEL)))
    before = path.read_bytes()

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        with_metadata(read_header(path), {"a": "1"}, path)

    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


@pytest.mark.parametrize(
    ("name", "alpha"),
    # A spelling without alpha has a scale of 1.
    [(n, 4) for n in SPELLINGS] + [(n, 8) for n, spelling in SPELLINGS.items() if spelling.alpha],
)
@pytest.mark.parametrize("model", [MODEL, "wan21-i2v-480p"])
def test_every_spelling_is_converted_to_the_same_bytes(
    name: str, model: str, alpha: float, tmp_path: Path
) -> None:
    spelling = SPELLINGS[name]
    musubi = tensors(widths(model), alpha=alpha)
    source = write_adapter(tmp_path / "musubi.safetensors", musubi, {"note": "kept"})
    other = write_adapter(tmp_path / "a.safetensors", respelled(musubi, spelling), {"note": "kept"})
    contents = read_contents(other)

    as_musubi_names(contents, tmp_path / "b.safetensors")

    after, before = load_file(tmp_path / "b.safetensors"), load_file(source)
    assert contents.is_musubi == (name == "musubi")
    assert read_contents(tmp_path / "b.safetensors").is_musubi
    assert metadata_of(tmp_path / "b.safetensors") == {"note": "kept"}
    assert after.keys() == before.keys()
    assert all(np.array_equal(after[key], before[key]) for key in before)


def test_spellings_mixed_in_one_file_are_converted(tmp_path: Path) -> None:
    musubi = tensors(widths(MODEL))
    fun, peft = (respelled(musubi, SPELLINGS[name]) for name in ("videox-fun", "peft-diffusers"))
    mixed = {key: value for key, value in fun.items() if "ffn" in key}
    mixed |= {key: value for key, value in peft.items() if "ffn" not in key}

    contents = read_contents(write_adapter(tmp_path / "a.safetensors", mixed))
    as_musubi_names(contents, tmp_path / "b.safetensors")

    after = load_file(tmp_path / "b.safetensors")
    assert after.keys() == musubi.keys()
    assert all(np.array_equal(after[key], musubi[key]) for key in musubi)


@pytest.mark.parametrize(
    ("config", "alpha"),
    [
        ({"transformer.lora_alpha": 8, "transformer.r": 4}, 8),
        ({"lora_alpha": 2.5}, 2.5),
        # PEFT scales by alpha / sqrt(rank) then.
        ({"transformer.lora_alpha": 8, "transformer.use_rslora": True}, 16),
        ({"transformer.r": 4}, 4),
        ({}, 4),
    ],
)
def test_an_alpha_that_diffusers_declares_is_kept(
    config: dict[str, object], alpha: float, tmp_path: Path
) -> None:
    found = respelled(tensors(widths(MODEL)), SPELLINGS["diffusers"])
    metadata = {"lora_adapter_metadata": json.dumps(config)}
    contents = read_contents(write_adapter(tmp_path / "a.safetensors", found, metadata))

    as_musubi_names(contents, tmp_path / "b.safetensors")

    assert read_contents(tmp_path / "b.safetensors").alpha() == alpha
    assert not contents.is_alpha_assumed


@pytest.mark.parametrize("alpha", ['"many"', "-1", "NaN"])
def test_a_declared_alpha_that_is_not_a_number_is_refused(alpha: str, tmp_path: Path) -> None:
    found = respelled(tensors(widths(MODEL)), SPELLINGS["diffusers"])
    metadata = {"lora_adapter_metadata": f'{{"lora_alpha": {alpha}}}'}

    with pytest.raises(AdapterError, match="declares an alpha"):
        read_contents(write_adapter(tmp_path / "a.safetensors", found, metadata))


def test_peft_without_its_config_has_an_assumed_alpha(tmp_path: Path) -> None:
    found = respelled(tensors(widths(MODEL)), SPELLINGS["peft"])
    path = write_adapter(tmp_path / "adapter_model.safetensors", found)

    assumed = read_contents(path)
    (tmp_path / "adapter_config.json").write_text('{"lora_alpha": 8}')
    declared = read_contents(path)

    assert (assumed.is_alpha_assumed, assumed.alpha()) == (True, 4)
    assert (declared.is_alpha_assumed, declared.alpha()) == (False, 8)


def test_a_published_checkpoint_says_all_of_its_training() -> None:
    run, model = spec(MODEL), find_model(MODEL)

    facts = completed_metadata(
        run, run.expert("high"), model, engine_version="30c658c", merge_receipt="f" * 64
    )

    said = {name.removeprefix("lorabot."): text for name, text in facts.items()}
    assert said["model"] == MODEL
    assert said["task"] == "i2v-A14B"
    assert said["expert"] == "high"
    assert said["timesteps"] == "900,1000"
    assert said["dataset_version"] == run.dataset.version
    assert said["variant"] == "lightning"
    assert "high_noise_model.safetensors" in said["speed_lora"]
    assert said["merge_receipt"] == "f" * 64
    assert said["engine_version"] == "30c658c"
    assert '"rank":8' in said["settings"]
    assert "started_from" not in said


def test_metadata_says_vanilla_if_nothing_was_merged() -> None:
    run, model = spec("wan21-t2v-14b"), find_model("wan21-t2v-14b")

    facts = completed_metadata(run, run.expert("main"), model, engine_version="1")

    assert facts["lorabot.variant"] == "vanilla"
    assert facts["lorabot.timesteps"] == "0,1000"
    assert "lorabot.merge_receipt" not in facts
