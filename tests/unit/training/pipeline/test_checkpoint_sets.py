"""Checkpoints of a run are paired by epoch; unpaired ones are marked."""

from tests.specs import spec
from training.pipeline.checkpoint_sets import best_set, sets
from training.runs.state import Checkpoint, ExpertState, Run


def checkpoints(expert: str, *epochs: int) -> ExpertState:
    last = max(epochs, default=0)
    found = tuple(
        Checkpoint(f"checkpoints/{expert}/a-{n}.safetensors", n, n, 1, is_final=n == last)
        for n in epochs
    )
    return ExpertState(checkpoints=found)


def run(high: tuple[int, ...], low: tuple[int, ...]) -> Run:
    experts = {"high": checkpoints("high", *high), "low": checkpoints("low", *low)}
    return Run(spec("wan22-i2v-vanilla"), experts=experts)  # type: ignore[arg-type]


def test_experts_are_paired_by_epoch_and_every_file_is_in_one_set() -> None:
    found = sets(run((5, 10, 20), (5, 10)))

    assert [(one.epoch, list(one.files), one.is_complete) for one in found] == [
        (20, ["high"], False),
        (10, ["high", "low"], True),
        (5, ["high", "low"], True),
    ]


def test_the_newest_pair_is_what_a_workflow_loads() -> None:
    best = best_set(run((5, 10, 20), (5, 10)))

    assert best is not None
    assert (best.epoch, best.is_complete) == (10, True)


def test_without_a_pair_the_newest_file_of_each_expert_is() -> None:
    best = best_set(run((5, 20), (10,)))

    assert best is not None
    assert {name: c.epoch for name, c in best.files.items()} == {"high": 20, "low": 10}
    assert not best.is_complete


def test_sets_of_one_expert_and_of_none() -> None:
    alone = best_set(run((5,), ()))

    assert alone is not None
    assert list(alone.files) == ["high"]
    assert best_set(run((), ())) is None


def test_the_only_expert_of_wan21_is_always_complete() -> None:
    main = Run(spec("wan21-t2v-14b"), experts={"main": checkpoints("main", 5, 10)})

    assert [(one.epoch, one.is_complete) for one in sets(main)] == [(10, True), (5, True)]
