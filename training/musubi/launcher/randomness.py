"""The state of every random generator that musubi-tuner draws from."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import torch

FILE = "random_states_0.pkl"

# The layout of accelerate's file: each side can read what the other writes.
States = dict[str, Any]


def snapshot(accumulated: int) -> States:
    """Return the current states; `accumulated` is accelerate's count of batches."""
    states: States = {
        "step": accumulated,
        "random_state": random.getstate(),
        "numpy_random_seed": np.random.get_state(),
        "torch_manual_seed": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        states["torch_cuda_manual_seed"] = torch.cuda.get_rng_state_all()
    return states


def restore(states: States) -> None:
    """Set every generator to `states`."""
    random.setstate(states["random_state"])
    np.random.set_state(states["numpy_random_seed"])
    torch.set_rng_state(states["torch_manual_seed"])
    if "torch_cuda_manual_seed" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(states["torch_cuda_manual_seed"])


def read(directory: Path) -> States:
    """Return the generator states stored in a training state."""
    # Written by this launcher; besides tensors it holds Python's and numpy's states.
    return torch.load(directory / FILE, weights_only=False)


def write(directory: Path, states: States) -> None:
    """Replace the generator states in a training state."""
    torch.save(states, directory / FILE)
