"""Yields each epoch's batches in musubi-tuner's order, and can resume in the middle of an epoch."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch

from training.musubi.launcher import randomness
from training.musubi.launcher.randomness import States
from training.musubi.state import TrainingState

ITEMS = "lorabot_items"  # key under which a batch holds the names of its cache files


class BatchOrder:
    """Draws the order of an epoch's batches as torch's `RandomSampler` does, and keeps the seed."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._skipped = 0
        self._rewind: States | None = None
        self._given: int | None = None
        self.seed: int | None = None

    def __len__(self) -> int:
        return self._count

    def resume(self, seed: int, skipped: int) -> None:
        """In the next epoch, use the order of `seed` and skip its first `skipped` batches."""
        self._given, self._skipped = seed, skipped

    def rewind(self, states: States) -> None:
        """Restore these generator states before the next order is drawn."""
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
    """Replaces musubi-tuner's data loader; a resumed run skips the batches already trained on.

    Args:
        loader: The loader that accelerate prepared.
        total_steps: The number of optimizer steps in the whole run.
        on_epoch: Called as each epoch begins.

    Attributes:
        items: Names of the latent cache files in the newest batch.
        size: The newest batch's number of samples, and the tokens of each; None if unknown.
    """

    # `loader` is `Any`, because accelerate is not installed where this is type-checked.
    def __init__(self, loader: Any, total_steps: int, on_epoch: Callable[[], None]) -> None:
        self._loader, self._total_steps, self._on_epoch = loader, total_steps, on_epoch
        self._order = BatchOrder(len(loader.batch_sampler.sampler))
        loader.batch_sampler.sampler = self._order
        self.items: tuple[str, ...] = ()
        self.size: tuple[int, int] | None = None
        self._start: TrainingState | None = None
        self._states: States = {}
        self._is_over = False

    def resume(self, start: TrainingState, states: States) -> None:
        """Resume at the position of `start`, with the random generators' `states`."""
        if 0 < start.batch < len(self) and start.order_seed is None:
            raise ValueError("The state lacks the order of its epoch's batches.")
        self._start, self._states = start, states

    def end(self) -> None:
        """Yield no batches in any later epoch."""
        self._is_over = True

    @property
    def order_seed(self) -> int | None:
        """The seed of the current epoch's order; None before the first epoch."""
        return self._order.seed

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[Any]:
        if self._is_over:
            return
        for batch in self._batches():
            self.items = tuple(batch.pop(ITEMS, ()))
            self.size = _size(batch["latents"])
            yield batch

    def _batches(self) -> Iterator[Any]:
        start, self._start = self._start, None
        self._on_epoch()
        if start is None:
            yield from self._loader
        elif start.step >= self._total_steps or start.batch >= len(self):
            # Yield no batch: all steps of this epoch were done before the stop. Only the epoch's
            # checkpoint still has to be saved.
            self._start = replace(start, epoch=start.epoch + 1, batch=0)
        elif start.batch == 0:
            yield from self._from_the_beginning(start)
        else:
            yield from self._from_the_middle(start)

    def _from_the_beginning(self, start: TrainingState) -> Iterator[Any]:
        randomness.restore(self._states)
        if self._loader.persistent_workers and start.epoch > 0:
            # Starting the workers draws a random number. An uninterrupted run starts them in its
            # first epoch, but a resumed run starts them only now. So restore the random states
            # again, just before the order is drawn.
            self._order.rewind(self._states)
        yield from self._loader

    def _from_the_middle(self, start: TrainingState) -> Iterator[Any]:
        self._order.resume(int(start.order_seed or 0), start.batch)
        batches = iter(self._loader)
        first = next(batches)
        randomness.restore(self._states)
        yield first
        yield from batches


def _size(latents: torch.Tensor) -> tuple[int, int] | None:
    """Return the samples of a batch and the tokens of each; None unless it holds Wan's latents.

    Args:
        latents: Shape [b, c, t, h, w]. The model makes a token of 2 x 2 pixels of a latent frame.
    """
    if latents.dim() != 5:
        return None
    samples, _, frames, height, width = latents.shape
    return samples, frames * (height // 2) * (width // 2)
