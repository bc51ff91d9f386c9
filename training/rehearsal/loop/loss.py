"""The loss of a training step: draws noise, predicts the velocity, and measures the error.

Shapes: b batch, s tokens, c channels, t h w latent size.
"""

import argparse
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.files.safetensors_header import TensorEntry
from training.rehearsal import tensor_file
from training.rehearsal.data.encoders import TEXT_KEY
from training.rehearsal.data.items import RehearsalItem, check_equal_shapes
from training.rehearsal.model.adapter import Adapter
from training.rehearsal.model.transformer import TinyWan
from training.rehearsal.tensor_file import Floats

logger = logging.getLogger(__name__)

TIMESTEPS = 1000
_DRAWS = 1000  # musubi gives up on a timestep range after this many tries

# A real clip has tens of thousands of tokens. 128 random ones give a stable loss in milliseconds.
TOKENS_PER_STEP = 128

_OPEN_FILES = 64
_KEPT_CONTEXTS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class TimestepSampler:
    """Draws noise levels from `lowest` to `highest` as musubi does; 0 is clean, 1 pure noise."""

    shift: float
    lowest: float
    highest: float
    keeps_shape: bool

    @classmethod
    def of(cls, args: argparse.Namespace) -> "TimestepSampler":
        return cls(
            shift=args.discrete_flow_shift,
            lowest=(args.min_timestep or 0) / TIMESTEPS,
            highest=(TIMESTEPS if args.max_timestep is None else args.max_timestep) / TIMESTEPS,
            keeps_shape=args.preserve_distribution_shape,
        )

    def draw(self, count: int, random: np.random.Generator) -> Floats:
        """Return `count` noise levels, float32."""
        if not self.keeps_shape:
            levels = self._shifted(count, random) * (self.highest - self.lowest) + self.lowest
            return levels.astype(np.float32)
        drawn = self._shifted(count * _DRAWS, random)
        fitting = drawn[(drawn >= self.lowest) & (drawn <= self.highest)]
        if len(fitting) < count:
            logger.warning("Could not sample %d valid timesteps in %d loops", count, _DRAWS)
            fitting = drawn
        return fitting[:count].astype(np.float32)

    def _shifted(self, count: int, random: np.random.Generator) -> NDArray[np.float64]:
        levels = 1.0 / (1.0 + np.exp(-random.standard_normal(count)))
        return levels * self.shift / (1.0 + (self.shift - 1.0) * levels)


class FlowMatchingLoss:
    """The mean squared error of the predicted velocity; the true velocity is noise - latent.

    musubi trains Wan with the same loss.
    """

    def __init__(
        self, model: TinyWan, sampler: TimestepSampler, *, image: bool, clip: bool
    ) -> None:
        self._model, self._sampler = model, sampler
        self._image, self._clip = image, clip
        # Cached: the base is frozen, so an item's caption and image always give the same context.
        self._context = lru_cache(maxsize=_KEPT_CONTEXTS)(self._embed)

    def __call__(
        self, batch: Sequence[RehearsalItem], adapter: Adapter, random: np.random.Generator
    ) -> tuple[float, Floats]:
        """Return the loss of a batch, and its gradient with respect to the adapter's parameter.

        Noise, tokens and timesteps are drawn from `random`.
        """
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
        predicted, back = self._model(
            np.stack([patches for patches, _ in parts]),
            np.stack(tokens),
            levels * TIMESTEPS + 1,
            self._contexts(batch),
            adapter,
        )
        error = predicted - np.stack([wanted for _, wanted in parts])
        return float(np.mean(error * error)), back(2.0 / error.size * error)

    def _noisy(
        self,
        item: RehearsalItem,
        tokens: NDArray[np.int64],
        level: float,
        random: np.random.Generator,
    ) -> tuple[Floats, Floats]:
        """Return an item's noisy input [s, (c, h, w)] and true velocity [s, (h, w, c)]."""
        latents = _gather(item.latent_path, item.latents, tokens)
        noise = random.standard_normal(latents.shape, np.float32)
        patches = ((1 - level) * latents + level * noise).astype(np.float32)
        if self._image and item.image is not None:
            patches = np.concatenate(
                [patches, _gather(item.latent_path, item.image, tokens)], axis=1
            )
        wanted = (noise - latents).transpose(0, 2, 3, 1)
        return patches.reshape(len(tokens), -1), wanted.reshape(len(tokens), -1)

    def _contexts(self, batch: Sequence[RehearsalItem]) -> Floats:
        contexts = [self._context(item) for item in batch]
        longest = max(context.shape[1] for context in contexts)
        return np.concatenate(
            [np.pad(c, ((0, 0), (0, longest - c.shape[1]), (0, 0))) for c in contexts]
        )

    def _embed(self, item: RehearsalItem) -> Floats:
        text = tensor_file.floats(tensor_file.read_header(item.text_path), TEXT_KEY)
        image = None
        if self._clip and item.clip_key is not None:
            header = tensor_file.read_header(item.latent_path)
            image = tensor_file.floats(header, item.clip_key)
        return self._model.embed_context(text, image)


def _choose(
    grid: tuple[int, int, int], count: int, random: np.random.Generator
) -> NDArray[np.int64]:
    """Choose `count` distinct tokens; return their frames, rows and columns [s, 3], ascending."""
    chosen = random.choice(int(np.prod(grid)), count, replace=False, shuffle=False)
    return np.stack(np.unravel_index(np.sort(chosen), grid), axis=-1).astype(np.int64)


def _gather(path: Path, entry: TensorEntry, tokens: NDArray[np.int64]) -> Floats:
    """Read the patches [s, c, 2, 2] of the given tokens from a stored tensor [c, t, h, w]."""
    channels, frames, height, width = entry.shape
    stored = _map(path, entry)[:, :, : height // 2 * 2, : width // 2 * 2]
    patches = stored.reshape(channels, frames, height // 2, 2, width // 2, 2)
    taken = patches[:, tokens[:, 0], tokens[:, 1], :, tokens[:, 2], :]
    return tensor_file.widen(np.ascontiguousarray(taken))


@lru_cache(maxsize=_OPEN_FILES)
def _map(path: Path, entry: TensorEntry) -> NDArray[np.uint16]:
    # Memory-mapped, because a step reads only a few tokens from a file of several megabytes.
    return np.memmap(path, dtype="<u2", mode="r", offset=entry.start, shape=entry.shape)
