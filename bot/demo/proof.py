"""Checks the files that the demo produces."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.catalogue.models import find_model
from training.errors import TrainingError
from training.lora.contents import read_contents
from training.lora.fit import require_fit, require_values
from training.lora.origin import read_origin
from training.pipeline.run_view import Metric
from training.rehearsal.engine import RehearsalEngine
from training.runs.spec import RunSpec

LEAST_FALL = 0.20


class DemoError(TrainingError):
    """The demo produced a wrong result."""


@dataclass(frozen=True, slots=True)
class LossFall:
    """Mean loss of the first and of the last tenth of an expert's steps."""

    first: float
    last: float

    @property
    def share(self) -> float:
        """How much the loss fell, as a fraction of the first mean."""
        return 1 - self.last / self.first


def loss_fall(metrics: list[Metric]) -> LossFall:
    """Return how the loss fell from the first tenth of the steps to the last tenth."""
    tenth = max(1, len(metrics) // 10)
    first, last = metrics[:tenth], metrics[-tenth:]
    return LossFall(sum(m.loss for m in first) / tenth, sum(m.loss for m in last) / tenth)


def require_learning(run: str, expert: str, metrics: list[Metric], total_steps: int) -> LossFall:
    """Require one record per step and a loss that fell far enough; return the fall."""
    if [metric.step for metric in metrics] != list(range(1, total_steps + 1)):
        raise DemoError(f"{run}: the steps of {expert} are not 1 to {total_steps} in order.", "")
    fall = loss_fall(metrics)
    if fall.share < LEAST_FALL:
        raise DemoError(f"{run}: the loss of {expert} only fell by {fall.share:.0%}.", "")
    return fall


def require_whole_adapters(spec: RunSpec, files: list[Path]) -> None:
    """Require that every file is a complete adapter for the run's model, with metadata."""
    engine, model = RehearsalEngine(), find_model(spec.model)
    for file in files:
        contents = read_contents(file)
        origin = read_origin(contents.header.metadata)
        if origin.expert is None or origin.task != model.task:
            raise DemoError(f"{file.name} does not say what it was trained for.", "")
        expert = model.expert(origin.expert)
        require_fit(contents, model=model, expert=expert, modules=engine.modules(model))
        require_values(contents)


def require_merges(spec: RunSpec, receipts: dict[str, dict[str, Any]]) -> None:
    """Require that each expert's speed LoRA, if it has one, was merged into all layers."""
    model = find_model(spec.model)
    expected = RehearsalEngine().module_count(model)
    for expert in spec.experts:
        receipt = receipts.get(f"merge-{expert.name}", {})
        merged = receipt.get("layers_merged"), receipt.get("layers_expected")
        if expert.speed_lora is not None and merged != (expected, expected):
            raise DemoError(
                f"{spec.name}: the speed LoRA was not merged into all layers of {expert.name}.", ""
            )


def require_seeds_decide(same: tuple[Path, Path], other: Path) -> None:
    """Require that the seed alone determines the bytes of the result."""
    first, second, third = (
        hashlib.sha256(path.read_bytes()).hexdigest() for path in (*same, other)
    )
    if first != second:
        raise DemoError("The same seed gave different bytes.", "")
    if first == third:
        raise DemoError("A different seed gave the same bytes.", "")


def read_receipts(folder: Path) -> dict[str, dict[str, Any]]:
    """Return a run's merge receipts by stage, such as `merge-high`."""
    return {path.stem: json.loads(path.read_text("utf-8")) for path in folder.glob("*.json")}
