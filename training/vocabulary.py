"""Shared vocabulary types; standard library only, for musubi's environment."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

BackendName = Literal["local", "modal"]
EngineName = Literal["rehearsal", "musubi"]
ExpertName = Literal["main", "high", "low"]
Resolution = Literal["480p", "720p"]
StageName = Literal["prepare", "fetch", "cache", "merge", "train", "publish"]
Trouble = Literal["loss_not_finite", "learning_rate_zero", "adapter_unchanged"]
Widths = Mapping[str, tuple[int, int]]  # a module such as `blocks.0.self_attn.q`: inputs, outputs


@dataclass(frozen=True, slots=True, order=True)
class StageKey:
    """A stage of a run; `expert` is set for stages that exist per expert."""

    stage: StageName
    expert: ExpertName | None = None

    def __str__(self) -> str:
        return f"{self.stage}-{self.expert}" if self.expert else self.stage
