"""Input and loss of a training step: tokens of noisy latents, and their target velocity.

Shapes: b batch, s tokens, c channels, t h w latent size.
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from training.files.safetensors_header import TensorEntry
from training.rehearsal import tensor_file
from training.rehearsal.data.encoders import TEXT_KEY
from training.rehearsal.data.items import RehearsalItem, check_equal_shapes
from training.rehearsal.loop.timesteps import TIMESTEPS, TimestepSampler
from training.rehearsal.model.adapter import Adapter
from training.rehearsal.model.transformer import TinyWan
from training.rehearsal.tensor_file import Floats

# A real clip has tens of thousands. This is enough for a steady loss, at milliseconds per step.
TOKENS_PER_STEP = 128

_OPEN_FILES = 64
_KEPT_CONTEXTS = 256


class FlowMatchingLoss:
    """Mean squared error of the predicted velocity, noise minus latent, as musubi trains Wan."""

    def __init__(
        self, model: TinyWan, sampler: TimestepSampler, *, image: bool, clip: bool
    ) -> None:
        self._model, self._sampler = model, sampler
        self._image, self._clip = image, clip
        # The base is frozen, so an item's embedded caption and image never change.
        self._context = lru_cache(maxsize=_KEPT_CONTEXTS)(self._embed)

    def __call__(
        self, batch: Sequence[RehearsalItem], adapter: Adapter, random: np.random.Generator
    ) -> Tensor:
        """Return the loss of a batch; `random` determines noise, tokens and timesteps."""
        check_equal_shapes(batch)
        _, frames, height, width = batch[0].latents.shape
        grid = (frames, height // 2, width // 2)
        count = min(TOKENS_PER_STEP // len(batch) or 1, int(np.prod(grid)))
        levels = self._sampler.draw(len(batch), random)
        tokens = [_choose(grid, count, random) for _ in batch]
        parts = [
            self._noisy(item, chosen, level, random)
            for item, chosen, level in zip(batch, tokens, levels, strict=True)
        ]
        predicted = self._model(
            torch.from_numpy(np.stack([patches for patches, _ in parts])),
            torch.from_numpy(np.stack(tokens)),
            torch.from_numpy(levels * TIMESTEPS + 1),
            self._contexts(batch),
            adapter,
        )
        return F.mse_loss(predicted, torch.from_numpy(np.stack([wanted for _, wanted in parts])))

    def _noisy(
        self,
        item: RehearsalItem,
        tokens: NDArray[np.int64],
        level: float,
        random: np.random.Generator,
    ) -> tuple[Floats, Floats]:
        """Return patches [s, (c, h, w)] of the input and [s, (h, w, c)] of the velocity."""
        latents = _gather(item.latent_path, item.latents, tokens)
        noise = random.standard_normal(latents.shape, np.float32)
        patches = ((1 - level) * latents + level * noise).astype(np.float32)
        if self._image and item.image is not None:
            patches = np.concatenate(
                [patches, _gather(item.latent_path, item.image, tokens)], axis=1
            )
        wanted = (noise - latents).transpose(0, 2, 3, 1)
        return patches.reshape(len(tokens), -1), wanted.reshape(len(tokens), -1)

    def _contexts(self, batch: Sequence[RehearsalItem]) -> Tensor:
        contexts = [self._context(item) for item in batch]
        longest = max(context.shape[1] for context in contexts)
        return torch.cat([F.pad(c, (0, 0, 0, longest - c.shape[1])) for c in contexts])

    def _embed(self, item: RehearsalItem) -> Tensor:
        text = tensor_file.read_floats(item.text_path, TEXT_KEY)
        image = None
        if self._clip and item.clip_key is not None:
            image = torch.from_numpy(tensor_file.read_floats(item.latent_path, item.clip_key))
        return self._model.embed_context(torch.from_numpy(text), image)


def _choose(
    grid: tuple[int, int, int], count: int, random: np.random.Generator
) -> NDArray[np.int64]:
    """Return frame, row and column [s, 3] of `count` distinct tokens, in ascending order."""
    chosen = random.choice(int(np.prod(grid)), count, replace=False, shuffle=False)
    return np.stack(np.unravel_index(np.sort(chosen), grid), axis=-1).astype(np.int64)


def _gather(path: Path, entry: TensorEntry, tokens: NDArray[np.int64]) -> Floats:
    """Return the patches [s, c, 2, 2] of a stored tensor [c, t, h, w] at some tokens."""
    channels, frames, height, width = entry.shape
    stored = _map(path, entry)[:, :, : height // 2 * 2, : width // 2 * 2]
    patches = stored.reshape(channels, frames, height // 2, 2, width // 2, 2)
    taken = patches[:, tokens[:, 0], tokens[:, 1], :, tokens[:, 2], :]
    return tensor_file.widen(np.ascontiguousarray(taken))


@lru_cache(maxsize=_OPEN_FILES)
def _map(path: Path, entry: TensorEntry) -> NDArray[np.uint16]:
    # Memory-mapped: a step needs a few tokens of files of several megabytes.
    return np.memmap(path, dtype="<u2", mode="r", offset=entry.start, shape=entry.shape)
