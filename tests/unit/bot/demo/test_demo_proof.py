"""The demo's checks fail if a result is wrong."""

from pathlib import Path

import pytest

from bot.demo.proof import (
    DemoError,
    loss_fall,
    require_learning,
    require_merges,
    require_seeds_decide,
    require_whole_adapters,
)
from tests.adapters import tensors, widths, write_adapter
from tests.specs import spec
from training.errors import AdapterError
from training.pipeline.run_view import Metric
from training.rehearsal.model.weights import write_weights


def metrics(first: float, last: float, steps: int = 100) -> list[Metric]:
    losses = [first] * (steps // 2) + [last] * (steps // 2)
    return [Metric(step=n, loss=x, learning_rate=1e-4) for n, x in enumerate(losses, start=1)]


def test_the_fall_compares_the_first_and_the_last_tenth() -> None:
    assert loss_fall(metrics(1.0, 0.75)).share == pytest.approx(0.25)


def test_a_loss_that_falls_too_little_is_an_error() -> None:
    require_learning("run", "main", metrics(1.0, 0.79), 100)
    with pytest.raises(DemoError, match="fell by 19%"):
        require_learning("run", "main", metrics(1.0, 0.81), 100)


@pytest.mark.parametrize("spoil", ["missing", "doubled"])
def test_a_missing_or_doubled_step_is_an_error(spoil: str) -> None:
    found = metrics(1.0, 0.1)
    wrong = found[1:] if spoil == "missing" else [found[0], *found]

    with pytest.raises(DemoError, match="in order"):
        require_learning("run", "main", wrong, 100)


def test_an_expert_without_a_full_merge_is_an_error() -> None:
    run = spec("wan22-i2v-lightning")
    whole = {"layers_merged": 20, "layers_expected": 20}

    require_merges(run, {"merge-high": whole, "merge-low": whole})
    with pytest.raises(DemoError, match="low"):
        require_merges(run, {"merge-high": whole, "merge-low": {**whole, "layers_merged": 19}})
    with pytest.raises(DemoError, match="high"):
        require_merges(run, {"merge-low": whole})


def test_the_seed_must_decide_the_bytes(tmp_path: Path) -> None:
    files = [tmp_path / name for name in "abc"]
    for path, data in zip(files, (b"1", b"1", b"2"), strict=True):
        path.write_bytes(data)
    first, second, third = files

    require_seeds_decide((first, second), third)
    with pytest.raises(DemoError, match="different bytes"):
        require_seeds_decide((first, third), second)
    with pytest.raises(DemoError, match="same bytes"):
        require_seeds_decide((first, second), first)


def test_a_file_that_is_not_an_adapter_of_the_model_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "base.safetensors"
    write_weights(path, role="dit", seed="x")

    with pytest.raises(AdapterError, match="is not a LoRA"):
        require_whole_adapters(spec("wan21-t2v-14b"), [path])


def test_a_checkpoint_without_metadata_is_an_error(tmp_path: Path) -> None:
    found = tensors(widths("wan21-t2v-14b"))
    silent = write_adapter(tmp_path / "a.safetensors", found)
    saying = {"lorabot.task": "t2v-14B", "lorabot.expert": "main"}
    whole = write_adapter(tmp_path / "b.safetensors", found, saying)

    require_whole_adapters(spec("wan21-t2v-14b"), [whole])
    with pytest.raises(DemoError, match="does not say"):
        require_whole_adapters(spec("wan21-t2v-14b"), [silent])
