"""Plans and measures the GPU memory of training steps."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from training.musubi.launcher.fast.graph import Kept
from training.musubi.launcher.fast.model import BlockCall, FastModel
from training.musubi.launcher.fast.plan import (
    Plan,
    Seen,
    StepSizes,
    bytes_kept,
    choose,
    less,
    usable,
)

# Bytes, per token and unit of width, that checking one block takes. musubi-tuner's own forward and
# backward pass of a block take 72. This follows from the 778,000 bytes per token recorded in
# `estimates/gpu_memory.py`, minus the inputs of 40 blocks. Checking fp8 takes more, because its
# uncompiled forward pass keeps everything for the backward pass.
_CHECKING = 110
_UNLIMITED = 2**60


@dataclass
class GpuMemory:
    """The memory of the device that a model is on; without a GPU, there is no limit.

    Args:
        device: The device.
        total_bytes: The memory of a smaller GPU to plan for; None to plan for this GPU.
    """

    device: torch.device
    total_bytes: int | None = None

    @property
    def in_use(self) -> int:
        return torch.cuda.memory_allocated(self.device) if self._is_gpu else 0

    @property
    def usable(self) -> int:
        """The bytes that a step may take in addition to the memory in use now."""
        if not self._is_gpu:
            return _UNLIMITED
        free, total = torch.cuda.mem_get_info(self.device)
        lacking = max(0, total - self.total_bytes) if self.total_bytes else 0
        in_reach = free + torch.cuda.memory_reserved(self.device) - lacking
        return usable(in_reach) - self.in_use

    @property
    def peak(self) -> int:
        return torch.cuda.max_memory_allocated(self.device) if self._is_gpu else 0

    def reset_peak(self) -> None:
        if self._is_gpu:
            torch.cuda.reset_peak_memory_stats(self.device)

    def free_unused(self) -> None:
        if self._is_gpu:
            torch.cuda.empty_cache()

    @property
    def _is_gpu(self) -> bool:
        return self.device.type == "cuda"


@dataclass
class StepMemory:
    """The plan for steps of one size, estimated at first and corrected after the first step.

    Attributes:
        plan: What each block keeps; None before `begin`, or if the memory is too small for any
            plan.
        is_settled: Whether the plan is final, because a step has been measured.
    """

    sizes: StepSizes
    gpu: GpuMemory
    plan: Plan | None = None
    is_settled: bool = False
    _seen: dict[Kept, int] = field(default_factory=dict[Kept, int])
    _usable: int = 0
    _in_use: int = 0

    @property
    def kept_by_a_block(self) -> Mapping[Kept, int]:
        """Bytes that one block held for the backward pass, for each `Kept` level measured."""
        return self._seen

    def begin(self, *, is_checked: bool) -> None:
        """Choose a plan if there is none; `is_checked` means that this step also checks blocks."""
        if self.is_settled:
            return
        self._usable, self._in_use = self.gpu.usable, self.gpu.in_use
        if self.plan is None:
            checking = _CHECKING * self.sizes.tokens * self.sizes.width if is_checked else 0
            self.plan = choose(self.sizes, self._usable - checking)

    def see(self, kept: Kept, taken: int) -> None:
        """Record how many bytes a block kept; if blocks differ, the smallest number is used."""
        self._seen[kept] = min(taken, self._seen.get(kept, taken))

    def end(self) -> bool:
        """Correct the plan after a step; return whether it changed."""
        if self.is_settled or self.plan is None:
            return False
        self.is_settled = True
        if self._usable == _UNLIMITED:
            return False
        kept = Seen(kept=self._seen)
        held = sum(
            bytes_kept(self.plan.kept(index), self.sizes, kept)
            for index in range(self.sizes.blocks)
        )
        if self.plan.is_wide:
            held += self.sizes.weights_bytes
        working = max(0, self.gpu.peak - self._in_use - held)
        corrected = choose(self.sizes, self._usable, Seen(kept=self._seen, working_bytes=working))
        # If no plan seems to fit, keep the current one: the step has shown that it fits.
        changed = corrected is not None and corrected != self.plan
        self.plan = corrected or self.plan
        return changed

    def lower(self) -> bool:
        """Let blocks keep less after a step ran out of memory; return whether they can."""
        self.is_settled = True
        if self.plan is not None:
            self.plan = less(self.plan, self.sizes, Seen(kept=self._seen))
        return self.plan is not None


def run_block(
    fast: FastModel, memory: StepMemory, index: int, block: Any, call: BlockCall
) -> Tensor:
    """Return a block's output; until the plan is settled, also measure how much the block keeps."""
    kept = fast.kept(index)
    if memory.is_settled:
        return fast.run(kept, block, call, call.x)
    before = memory.gpu.in_use
    y = fast.run(kept, block, call, call.x)
    memory.see(kept, memory.gpu.in_use - before)
    return y
