"""Types that all packages share.

This module imports only the standard library, because it also runs in musubi-tuner's environment.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

BackendName = Literal["local", "modal"]
EngineName = Literal["rehearsal", "musubi"]
ExpertName = Literal["main", "high", "low"]
Device = Literal["cpu", "gpu"]
Resolution = Literal["480p", "720p"]
StageName = Literal["prepare", "fetch", "cache", "merge", "train", "publish"]
Trouble = Literal["loss_not_finite", "loss_diverged", "adapter_unchanged", "learning_rate_zero"]
# Maps a module such as `blocks.0.self_attn.q` to its numbers of inputs and outputs.
Widths = Mapping[str, tuple[int, int]]


@dataclass(frozen=True, slots=True, order=True)
class StageKey:
    """Identifies a stage of a run; `expert` is None if all experts share the stage."""

    stage: StageName
    expert: ExpertName | None = None

    def __str__(self) -> str:
        return f"{self.stage}-{self.expert}" if self.expert else self.stage


def device_of(stage: StageName) -> Device:
    """Return the device that a stage holds while it works."""
    return "gpu" if stage in ("cache", "train") else "cpu"
