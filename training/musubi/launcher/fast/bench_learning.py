"""Trains the same adapters with each way of computing steps, and compares what they learned."""

# torch leaves parts of its API untyped.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

import statistics
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

_RATE = 1e-4
_STEPS_COMPARED = 50
_OTHER_SEED = "stock, other seed"
_TENTHS = 10


def learn(bench: Any, ways: Mapping[str, Any], batch: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the losses of each way of computing steps, and the similarity of its adapters.

    Each loss is the mean over a tenth of the steps. For each adapter weight, the similarity is the
    cosine between its change in the first 50 steps computed this way and its change in the first
    50 of musubi-tuner's own steps. As a baseline, musubi-tuner's own steps are also run on data
    drawn with a different seed.
    """
    weights = {name: weight.detach().clone() for name, weight in bench.network.named_parameters()}
    expected: dict[str, Tensor] = {}
    usual = ways["stock"]
    for name, way in {**ways, _OTHER_SEED: usual}.items():
        seed = 1 if name == _OTHER_SEED else 0
        losses, learned = _trained(bench, way, batch, weights, seed)
        expected = expected or learned
        cosines = sorted(_cosine(learned[key], expected[key]) for key in expected)
        yield {
            "mode": name,
            "losses": [round(statistics.mean(tenth), 5) for tenth in _tenths(losses)],
            "cosine_median": round(statistics.median(cosines), 5),
            "cosine_worst": round(cosines[0], 5),
        }


def _trained(
    bench: Any, way: Any, batch: dict[str, Any], weights: Mapping[str, Tensor], seed: int
) -> tuple[list[float], dict[str, Tensor]]:
    """Return the loss of each step, and the change of each adapter weight in the first 50 steps."""
    with torch.no_grad():
        for name, weight in bench.network.named_parameters():
            weight.copy_(weights[name])
    bench.optimizer = torch.optim.AdamW(bench.network.parameters(), lr=_RATE)
    generator = torch.Generator(batch["x"].device).manual_seed(seed)
    losses: list[Tensor] = []
    learned: dict[str, Tensor] = {}
    for step in range(1, bench.options.steps + 1):
        drawn = torch.randn(
            batch["x"].shape, generator=generator, device=batch["x"].device, dtype=torch.float32
        )
        losses.append(bench.learn(way, {**batch, "x": drawn}))
        if step == min(_STEPS_COMPARED, bench.options.steps):
            learned = {
                name: weight.detach() - weights[name]
                for name, weight in bench.network.named_parameters()
            }
    return [float(loss) for loss in losses], learned


def _tenths(losses: list[float]) -> list[list[float]]:
    size = max(1, len(losses) // _TENTHS)
    return [losses[start : start + size] for start in range(0, len(losses), size)]


def _cosine(a: Tensor, b: Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(a.flatten(), b.flatten(), dim=0))
