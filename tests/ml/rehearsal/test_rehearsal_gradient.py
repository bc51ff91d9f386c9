"""The tiny model's arithmetic: its losses are torch's, and its gradient is that of its loss."""

from pathlib import Path
from typing import cast

import numpy as np
import pytest

from tests.ml.rehearsal.workspace import DATE, Task, Workspace, losses, observed
from training.rehearsal.model.adapter import Adapter
from training.rehearsal.model.functions import Values
from training.rehearsal.model.shape import IMAGE_TOKENS, IMAGE_WIDTH, TEXT_WIDTH
from training.rehearsal.model.transformer import TinyWan
from training.rehearsal.model.weights import write_weights
from training.rehearsal.tensor_file import Floats, floats, read_header

# Losses of steps 1, 4, 8 and 12 at a rate of 1e-3. Source: the same model, loss and optimizer
# written in torch 2.13 (nn.functional, autograd), on the same data and random numbers.
TORCH: dict[Task, list[float]] = {
    "t2v-14B": [3.335940, 2.650443, 0.966544, 0.815354],
    "i2v-14B": [3.365315, 2.632406, 0.893082, 0.784263],
    "t2v-A14B": [3.339492, 2.653015, 0.967542, 0.816009],
    "i2v-A14B": [3.314190, 2.673687, 0.969356, 0.840146],
}


@pytest.mark.parametrize("task", list(TORCH))
def test_the_losses_are_those_of_torch(workspace: Workspace, tmp_path: Path, task: Task) -> None:
    line = ["--max_train_steps", "12", "--learning_rate", "1e-3"]

    found = losses(observed(workspace.train_arguments(task, tmp_path, *line), DATE))

    assert [found[step - 1] for step in (1, 4, 8, 12)] == pytest.approx(TORCH[task], rel=1e-4)


@pytest.mark.parametrize("clip", [False, True])
def test_the_gradient_is_that_of_the_loss(tmp_path: Path, clip: bool) -> None:
    """Compare with central differences in float64, in random directions."""
    path = tmp_path / "dit.safetensors"
    write_weights(path, role="dit", seed="a", clip=clip)
    header = read_header(path)
    model = TinyWan({name: floats(header, name).astype(np.float64) for name in header.tensors})
    random = np.random.default_rng(0)
    adapter = Adapter(clip=clip, rank=3, alpha=2.0, seed=0)
    start = adapter.parameter + random.standard_normal(adapter.parameter.shape) * 0.1
    patches = random.standard_normal((2, 5, 64))
    positions = random.integers(0, 9, (2, 5, 3))
    image = random.standard_normal((IMAGE_TOKENS, IMAGE_WIDTH)) if clip else None
    context = model.embed_context(random.standard_normal((4, TEXT_WIDTH)), image)
    by_velocity = random.standard_normal((2, 5, 64))

    def at(parameter: Values) -> tuple[float, Values]:
        adapter.parameter = cast("Floats", parameter)  # of float64: differences are exact enough
        timesteps = np.array([100.0, 900.0])
        found, back = model(patches, positions, timesteps, context.repeat(2, axis=0), adapter)
        return float((found * by_velocity).sum()), back(by_velocity)

    _, gradient = at(start)
    for _ in range(3):
        direction = random.standard_normal(start.shape)
        above, below = at(start + 1e-5 * direction)[0], at(start - 1e-5 * direction)[0]
        assert gradient @ direction == pytest.approx((above - below) / 2e-5, rel=1e-6)
