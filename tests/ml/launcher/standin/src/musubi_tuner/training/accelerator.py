"""The parts of accelerate that the trainer uses: counting batches, saving and loading state."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import (
    load_file,  # type: ignore[reportUnknownVariableType]
    save_file,  # type: ignore[reportUnknownVariableType]
)


class Loader:
    """Reads one batch ahead, so that it knows which is the last."""

    # torch's loader gets a tensor here, which its types do not allow.
    def __init__(self, loader: Any) -> None:
        self._loader = loader
        self.is_last = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        self.is_last = False
        batches = iter(self._loader)
        batch = next(batches)
        for following in batches:
            yield batch
            batch = following
        self.is_last = True
        yield batch


@dataclass
class Scheduler:
    scheduler: torch.optim.lr_scheduler.LambdaLR


class Optimizer:
    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer
        self.step_was_skipped = False

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        return self.optimizer.param_groups

    def step(self) -> None:
        self.optimizer.step()


@dataclass
class Accelerator:
    model: torch.nn.Module
    optimizer: Optimizer
    _schedulers: list[Scheduler]
    loader: Loader
    gradient_accumulation_steps: int
    num_processes: int = 1
    step: int = 0
    sync_gradients: bool = True
    scaler: None = None
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def unwrap_model(self, model: torch.nn.Module) -> torch.nn.Module:
        return model

    def backward(self, loss: torch.Tensor) -> None:
        loss.backward()

    def begin_batch(self) -> None:
        self.step += 1
        is_full = self.step % self.gradient_accumulation_steps == 0
        self.sync_gradients = self.loader.is_last or is_full
        if self.loader.is_last:
            self.step = 0

    def save_state(self, path: str) -> None:
        folder = Path(path)
        folder.mkdir(exist_ok=True)
        save_file(self.model.state_dict(), folder / "model.safetensors")
        torch.save(self.optimizer.optimizer.state_dict(), folder / "optimizer.bin")
        torch.save(self._schedulers[0].scheduler.state_dict(), folder / "scheduler.bin")
        states = {
            "step": self.step,
            "random_state": random.getstate(),
            "numpy_random_seed": np.random.get_state(),
            "torch_manual_seed": torch.get_rng_state(),
        }
        torch.save(states, folder / "random_states_0.pkl")

    def load_state(self, path: str) -> None:
        folder = Path(path)
        self.model.load_state_dict(load_file(folder / "model.safetensors"))
        self.optimizer.optimizer.load_state_dict(torch.load(folder / "optimizer.bin"))
        self._schedulers[0].scheduler.load_state_dict(torch.load(folder / "scheduler.bin"))
        # As with accelerate, the random generators may silently stay unchanged.
