"""The rehearsal's stand-ins for published weights."""

from pathlib import Path

from training.catalogue.models import MODELS
from training.rehearsal.engine import RehearsalEngine


def test_a_shared_file_is_the_same_whichever_model_fetches_it_first(tmp_path: Path) -> None:
    engine = RehearsalEngine()
    contents: dict[str, set[bytes]] = {}
    for number, model in enumerate(MODELS):
        for weight in (model.vae, model.t5):
            target = tmp_path / f"{number}.safetensors"
            engine.obtain(model, weight, target, lambda _: None)
            contents.setdefault(str(weight), set()).add(target.read_bytes())

    assert {weight: len(found) for weight, found in contents.items()} == dict.fromkeys(contents, 1)
