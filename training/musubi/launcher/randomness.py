"""Saves and restores the random generators that musubi-tuner uses."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import torch

FILE = "random_states_0.pkl"

# The keys are the same as in accelerate's own file, so that accelerate can read this file too.
States = dict[str, Any]


def snapshot(accumulated: int) -> States:
    """Return the states of all generators; `accumulated` is accelerate's counter `step`."""
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
    """Set every random generator to its state in `states`."""
    random.setstate(states["random_state"])
    np.random.set_state(states["numpy_random_seed"])
    torch.set_rng_state(states["torch_manual_seed"])
    if "torch_cuda_manual_seed" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(states["torch_cuda_manual_seed"])


def read(directory: Path) -> States:
    """Read the generator states from the folder of a training state."""
    # `weights_only` must be off, because the file also holds states of Python and NumPy. Unpickling
    # them is safe: this launcher wrote the file.
    return torch.load(directory / FILE, weights_only=False)


def write(directory: Path, states: States) -> None:
    """Write generator states to the folder of a training state, replacing those saved there."""
    torch.save(states, directory / FILE)
