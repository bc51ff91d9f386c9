"""The merge of a speed LoRA within runs and on the command line."""

import hashlib
import json

import pytest

from tests.pipeline.home import GUILD, Home
from training.files.safetensors_header import read_header
from training.merge.receipt import Receipt
from training.rehearsal.model.weights import write_weights
from training.runs.state import RunStatus
from training.store_keys import RunKeys
from training.vocabulary import StageKey

MODEL = "wan22-t2v-lightning"
EXPERTS = ("high", "low")


@pytest.mark.slow
def test_concurrent_runs_merge_once_and_name_the_receipt(home: Home) -> None:
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
            assert comment["merge_receipt"] == Receipt.model_validate_json(receipt).merge_sha256
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
