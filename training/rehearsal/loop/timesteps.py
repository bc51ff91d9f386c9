"""Samples noise levels like musubi-tuner."""

import argparse
import logging
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from training.rehearsal.tensor_file import Floats

logger = logging.getLogger(__name__)

TIMESTEPS = 1000
_DRAWS = 1000  # as often as musubi tries before it gives up on the range

Levels = NDArray[np.float64]
Sampling = Literal["shift", "sigmoid", "uniform", "sigma"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TimestepSampler:
    """Draws noise levels t in 0..1 (1 is pure noise), all within [lowest, highest]."""

    sampling: Sampling
    shift: float
    sigmoid_scale: float
    lowest: float
    highest: float
    keeps_shape: bool

    @classmethod
    def of(cls, args: argparse.Namespace) -> "TimestepSampler":
        """Return the sampler for these arguments."""
        return cls(
            sampling=args.timestep_sampling,
            shift=args.discrete_flow_shift,
            sigmoid_scale=args.sigmoid_scale,
            lowest=(args.min_timestep or 0) / TIMESTEPS,
            highest=(TIMESTEPS if args.max_timestep is None else args.max_timestep) / TIMESTEPS,
            keeps_shape=args.preserve_distribution_shape,
        )

    def draw(self, count: int, random: np.random.Generator) -> Floats:
        """Return `count` noise levels."""
        return self._draw(count, random).astype(np.float32)

    def _draw(self, count: int, random: np.random.Generator) -> Levels:
        if self.sampling == "sigma":
            # musubi's range counts positions of the schedule here, from noise to clean.
            return self._shifted(1.0 - self._squeeze(random.random(count)))
        if not self.keeps_shape:
            return self._squeeze(self._free(count, random))
        drawn = self._free(count * _DRAWS, random)
        fitting = drawn[(drawn >= self.lowest) & (drawn <= self.highest)]
        if len(fitting) < count:
            logger.warning("Could not sample %d valid timesteps in %d loops", count, _DRAWS)
            fitting = drawn
        return fitting[:count]

    def _squeeze(self, levels: Levels) -> Levels:
        return levels * (self.highest - self.lowest) + self.lowest

    def _free(self, count: int, random: np.random.Generator) -> Levels:
        if self.sampling == "uniform":
            return random.random(count)
        levels = 1.0 / (1.0 + np.exp(-random.standard_normal(count) * self.sigmoid_scale))
        return self._shifted(levels) if self.sampling == "shift" else levels

    def _shifted(self, levels: Levels) -> Levels:
        return levels * self.shift / (1.0 + (self.shift - 1.0) * levels)
