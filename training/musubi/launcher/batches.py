"""The batches of each epoch in musubi-tuner's order; can resume in mid-epoch."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch

from training.musubi.launcher import randomness
from training.musubi.launcher.randomness import States
from training.musubi.state import TrainingState


class BatchOrder:
    """Draws each epoch's order as torch's `RandomSampler` does, and remembers its seed."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._skipped = 0
        self._rewind: States | None = None
        self._given: int | None = None
        self.seed: int | None = None

    def __len__(self) -> int:
        return self._count

    def go_on(self, seed: int, skipped: int) -> None:
        """Repeat the order of `seed` for the next epoch, skipping its first batches."""
        self._given, self._skipped = seed, skipped

    def rewind(self, states: States) -> None:
        """Draw the next order with the generators in these states."""
        self._rewind = states

    def __iter__(self) -> Iterator[int]:
        if self._rewind is not None:
            randomness.restore(self._rewind)
        drawn = self._given
        if drawn is None:
            drawn = int(torch.empty((), dtype=torch.int64).random_().item())
        skipped = self._skipped
        self._skipped, self._given, self._rewind = 0, None, None
        self.seed = drawn
        generator = torch.Generator()
        generator.manual_seed(drawn)
        yield from torch.randperm(self._count, generator=generator).tolist()[skipped:]


class Batches:
    """Replaces musubi-tuner's data loader: the same batches, without those already trained.

    Args:
        loader: The loader that accelerate prepared.
        total_steps: Number of steps after which training is complete.
        on_epoch: Called as each epoch begins.
    """

    # The loader is accelerate's, which is not installed where this is type-checked.
    def __init__(self, loader: Any, total_steps: int, on_epoch: Callable[[], None]) -> None:
        self._loader, self._total_steps, self._on_epoch = loader, total_steps, on_epoch
        self._order = BatchOrder(len(loader.batch_sampler.sampler))
        loader.batch_sampler.sampler = self._order
        self._start: TrainingState | None = None
        self._states: States = {}

    def go_on(self, start: TrainingState, states: States) -> None:
        """Resume where `start` was saved, with the generators in `states`."""
        if 0 < start.batch < len(self) and start.order_seed is None:
            raise ValueError("The state does not say in which order its epoch was trained.")
        self._start, self._states = start, states

    @property
    def order_seed(self) -> int | None:
        """The seed of the current epoch's order."""
        return self._order.seed

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[Any]:
        start, self._start = self._start, None
        self._on_epoch()
        if start is None:
            yield from self._loader
        elif start.step >= self._total_steps or start.batch >= len(self):
            # Only the work after the epoch's last step was left to do.
            self._start = replace(start, epoch=start.epoch + 1, batch=0)
        elif start.batch == 0:
            yield from self._from_the_beginning(start)
        else:
            yield from self._from_the_middle(start)

    def _from_the_beginning(self, start: TrainingState) -> Iterator[Any]:
        randomness.restore(self._states)
        if self._loader.persistent_workers and start.epoch > 0:
            # Persistent workers drew their seed, one number, in an earlier epoch.
            self._order.rewind(self._states)
        yield from self._loader

    def _from_the_middle(self, start: TrainingState) -> Iterator[Any]:
        self._order.go_on(int(start.order_seed or 0), start.batch)
        batches = iter(self._loader)
        first = next(batches)
        randomness.restore(self._states)
        yield first
        yield from batches
