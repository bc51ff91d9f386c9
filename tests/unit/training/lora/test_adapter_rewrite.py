"""Another header, the same tensors: metadata is completed and names converted without a change."""

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import (
    load_file,  # type: ignore[reportUnknownVariableType]  # its path type is open
)

from tests.adapters import Style, change, tensors, widths, write_adapter
from tests.specs import spec
from training.catalogue.models import find_model
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


def test_metadata_is_replaced_and_every_tensor_stays(tmp_path: Path) -> None:
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
    # The legacy hash is taken of the tensors with the ss_ entries alone: those did not change.
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
    ("style", "alpha"), [("peft", None), ("lightning", None), ("lightning", 8)]
)
def test_other_trainers_names_become_musubis_with_exactly_the_same_effect(
    style: Style, alpha: float | None, tmp_path: Path
) -> None:
    modules = widths(MODEL)
    before = tensors(modules, style=style, alpha=alpha)
    path = write_adapter(tmp_path / "a.safetensors", before, {"note": "kept"})
    contents = read_contents(path)

    as_musubi_names(contents, tmp_path / "b.safetensors")

    after = load_file(tmp_path / "b.safetensors")
    converted = read_contents(tmp_path / "b.safetensors")
    assert not contents.is_musubi
    assert converted.is_musubi
    assert (converted.rank, converted.alpha()) == (4, float(alpha or 4))
    assert metadata_of(tmp_path / "b.safetensors") == {"note": "kept"}
    for module in modules:
        assert np.array_equal(change(after, module), change(before, module))


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
    assert "trigger" not in said
    assert "started_from" not in said


def test_vanilla_and_the_trigger_are_said_where_there_is_one() -> None:
    run, model = spec("wan21-t2v-14b"), find_model("wan21-t2v-14b")

    facts = completed_metadata(
        run, run.expert("main"), model, engine_version="1", trigger="annika woman"
    )

    assert facts["lorabot.variant"] == "vanilla"
    assert facts["lorabot.timesteps"] == "0,1000"
    assert facts["lorabot.trigger"] == facts["modelspec.trigger_phrase"] == "annika woman"
    assert "lorabot.merge_receipt" not in facts
