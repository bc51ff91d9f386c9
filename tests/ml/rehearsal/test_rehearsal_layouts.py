"""The rehearsal writes the same files as musubi-tuner did, except for their values."""

from dataclasses import replace
from pathlib import Path

from tests.ml.rehearsal.workspace import DATE
from tests.musubi.checkout import Checkout
from tests.musubi.layouts import describe_caches, describe_run, read_snapshot, rehearse_caches
from training.catalogue.models import find_model
from training.rehearsal.__main__ import main


def test_names_keys_types_metadata_and_states_are_musubis(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path, tmp_path, tmp_path)
    model, caches = find_model("wan21-i2v-720p"), tmp_path / "caches"
    rehearse_caches(checkout, model, caches)
    train = checkout.train(model, model.expert("main"), caches, tmp_path / "out")
    base = checkout.base(model, is_rehearsal=True)
    train = replace(train, dit=replace(train.dit, path=base))

    assert main([train.script, *train.arguments()], DATE) == 0

    seen = read_snapshot()
    assert describe_caches(caches) == seen["caches"]
    assert describe_run(tmp_path / "out") == seen["run"]
