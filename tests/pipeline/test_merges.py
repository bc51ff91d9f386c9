"""The merge of a speed LoRA within runs and on the command line."""

import hashlib
import json
from pathlib import Path

import pytest

from tests.pipeline.home import GUILD, Home
from tests.pipeline.lorabot import Lorabot
from training.files.safetensors_header import read_header
from training.rehearsal.model.weights import write_weights
from training.runs.state import RunStatus
from training.store_keys import RunKeys
from training.vocabulary import StageKey

MODEL = "wan22-t2v-lightning"
EXPERTS = ("high", "low")


@pytest.mark.slow
def test_runs_that_start_at_once_merge_once_and_name_the_proof(home: Home) -> None:
    names = [home.start(MODEL, epochs="1", name=name).name for name in ("one", "two")]

    views = [home.finish(name) for name in names]

    store = home.local.runtime.store
    for view in views:
        assert view.run.status is RunStatus.SUCCEEDED
        for expert in EXPERTS:
            receipt = store.read(RunKeys(GUILD, view.spec.name).receipt(StageKey("merge", expert)))
            folder = store.path(RunKeys(GUILD, view.spec.name).checkpoints(expert))
            (file,) = folder.glob("*.safetensors")
            comment = json.loads(read_header(file).metadata["ss_training_comment"])
            assert comment["merge_receipt"] == hashlib.sha256(receipt).hexdigest()
            assert json.loads(receipt)["layers_merged"] == 20
    reused = [[v.run.stage(StageKey("merge", e)).reused for e in EXPERTS] for v in views]
    assert sorted(reused[0] + reused[1]) == [False, False, True, True]
    assert len(list(home.local.home.glob("merged/*/*.safetensors"))) == 2


@pytest.mark.slow
def test_a_merge_that_does_not_fit_fails_the_run_and_trains_nothing(home: Home) -> None:
    first = home.finish(home.start(MODEL, epochs="1").name)
    lora = next(home.local.home.glob("models/**/high_noise_model.safetensors"))
    receipt = lora.with_name(f"{lora.name}.receipt.json")
    write_weights(lora, role="dit", seed="not a LoRA")
    facts = json.loads(receipt.read_text())
    facts["size_bytes"] = lora.stat().st_size
    facts["sha256"] = hashlib.sha256(lora.read_bytes()).hexdigest()
    facts["size_bytes"] = lora.stat().st_size
    receipt.write_text(json.dumps(facts))

    view = home.finish(home.start(MODEL, epochs="1").name)

    assert first.run.status is RunStatus.SUCCEEDED
    assert view.run.status is RunStatus.FAILED
    assert "Merging Lightning into the base of the high expert failed" in view.run.cause
    assert view.run.stage(StageKey("train", "high")).attempt == 0
    assert view.expert("low").checkpoints


def test_the_command_line_merges_and_verifies(here: Lorabot, tmp_path: Path) -> None:
    base, lora, out, receipt = (tmp_path / name for name in ("base", "lora", "out", "receipt"))
    write_weights(base, role="dit", seed="base", dtype="fp16")
    write_weights(lora, role="speed_lora", seed="lora")
    files = ("--base", str(base), "--lora", str(lora), "--out", str(out))

    made = here.json("merge", *files, "--receipt", str(receipt), "--expect", "20")
    verified = here.run("merge", "--verify", str(out), "--receipt", str(receipt))

    assert (made["layers_merged"], made["layers_expected"]) == (20, 20)
    assert made["base_sha256"] == hashlib.sha256(base.read_bytes()).hexdigest()
    assert {"lora_sha256", "output_digest", "strength", "keys_skipped"} <= set(made)
    assert verified.returncode == 0
    assert "20/20 layers" in verified.stdout
    assert hashlib.sha256(receipt.read_bytes()).hexdigest() in verified.stdout
    data = bytearray(out.read_bytes())
    data[-1] ^= 1
    out.write_bytes(data)
    assert here.refused("merge", "--verify", str(out), "--receipt", str(receipt))


def test_a_merge_that_does_not_fit_leaves_no_output(here: Lorabot, tmp_path: Path) -> None:
    base, lora, out = (tmp_path / name for name in ("base", "lora", "out"))
    write_weights(base, role="dit", seed="base", dtype="fp16")
    write_weights(lora, role="speed_lora", seed="lora")
    files = ("--base", str(base), "--lora", str(lora), "--out", str(out))

    assert "400" in here.refused("merge", *files, "--expect", "400")
    assert not out.exists()
    assert here.refused("merge", "--base", str(base), code=2)


def test_a_receipt_never_takes_the_place_of_another_file(lorabot: Lorabot, tmp_path: Path) -> None:
    base, lora, out = (tmp_path / name for name in ("base", "lora", "out"))
    write_weights(base, role="dit", seed="base", dtype="fp16")
    write_weights(lora, role="speed_lora", seed="lora")
    before = base.read_bytes(), lora.read_bytes()
    files = ("--base", str(base), "--lora", str(lora), "--out", str(out))

    for receipt in (base, lora, out, tmp_path, tmp_path / "absent" / "receipt"):
        assert "receipt" in lorabot.refused("merge", *files, "--receipt", str(receipt))

    assert (base.read_bytes(), lora.read_bytes()) == before
    assert sorted(tmp_path.glob("[!h]*")) == [base, lora]


def test_verify_refuses_what_it_would_not_look_at(lorabot: Lorabot, tmp_path: Path) -> None:
    said = lorabot.refused("merge", "--verify", str(tmp_path), "--base", str(tmp_path), code=2)

    assert "--verify" in said
