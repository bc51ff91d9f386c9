"""Decides at each training step whether the model's blocks run compiled, and how.

During the first step, every block is checked against musubi-tuner's forward and backward pass. Each
later graph is checked on the first block. If anything goes wrong, training logs the reason and
continues with musubi-tuner's own forward pass, from that block on.
"""

# torch and musubi-tuner leave parts of their API untyped.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from training.musubi.launcher import randomness
from training.musubi.launcher.fast.attention import KernelChoice, fastest
from training.musubi.launcher.fast.check import Verdict, check
from training.musubi.launcher.fast.graph import Kept
from training.musubi.launcher.fast.layers import UnsupportedError
from training.musubi.launcher.fast.memory import GpuMemory, StepMemory, run_block
from training.musubi.launcher.fast.model import BlockCall, FastModel, stock
from training.musubi.launcher.fast.plan import StepSizes

logger = logging.getLogger(__name__)

Mode = Literal["16bit", "fp8"]
Loss = tuple[Tensor, Any]

# The first few sizes of a run get their own graphs. All later sizes share one graph, because each
# graph takes half a minute to compile.
_OWN_GRAPHS = 4
_FP8_PRODUCTS = (8, 9)
_OFF, _LONGEST = "off: ", 200
_OUT_OF_MEMORY = "the GPU's memory is too small, even if blocks keep as little as they can"


@dataclass
class _Size:
    """The plan, kernel and checks for all steps with the same number of tokens."""

    memory: StepMemory
    choice: KernelChoice
    is_dynamic: bool
    checked: set[tuple[Kept, bool]] = field(default_factory=set[tuple[Kept, bool]])
    verdicts: dict[int, Verdict] = field(default_factory=dict[int, Verdict])
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionHooks:
    """The functions and data that connect a session to the training loop.

    Attributes:
        pause_saving: Returns a context in which no other thread reads the adapters to save them.
        on_refused: Called with the reason if the blocks run uncompiled.
        on_compiled: Called after new graphs were compiled.
        previous: The earlier session's `record`, as stored in the training state that this run
            resumes; None if there is none.
    """

    pause_saving: Callable[[], AbstractContextManager[Any]]
    on_refused: Callable[[str], None]
    on_compiled: Callable[[], None]
    previous: str | None = None


class FastSession:
    """The compiled blocks of one training run.

    Args:
        mode: The number format for products with frozen weights.
        model: musubi-tuner's model, with adapters applied.
        hooks: Connects the session to the training loop.

    Attributes:
        refused: Why the blocks run uncompiled; "" while they run compiled.
    """

    def __init__(self, mode: Mode, model: Any, hooks: SessionHooks) -> None:
        self._mode, self._model, self._hooks = mode, model, hooks
        self._gpu = GpuMemory(model.device)
        self._fast = FastModel(model, self._kept, is_fp8=mode == "fp8")
        self._sizes: dict[tuple[int, int], _Size] = {}
        self._size: _Size | None = None
        self._unchecked = set(range(len(model.blocks)))
        self._again: Callable[[], Loss] | None = None
        self._loss: Tensor | None = None
        self._states: randomness.States = {}
        self._has_new_graphs = False
        self.refused = ""

    def start(self) -> None:
        """Make the blocks run compiled.

        Call `refuse` instead if this fails, or if the blocks already ran
        uncompiled before the run was resumed.
        """
        previous = self._hooks.previous or ""
        if previous.startswith(_OFF):
            self.refuse(previous.removeprefix(_OFF))
            return
        try:
            if self._mode == "fp8":
                _require_fp8(self._model.device)
            self._fast.attach(self._forward)
            self._fast.quantize()
        except Exception as error:  # noqa: BLE001 - no failure here may end the training
            self.refuse(_first_line(error))

    @property
    def record(self) -> str:
        """How steps are computed, as stored in the training state."""
        if self.refused:
            return f"{_OFF}{self.refused}"
        kernels = sorted({size.choice.kernel for size in self._sizes.values()})
        return " ".join([self._mode, *kernels])

    @property
    def is_on(self) -> bool:
        return not self.refused

    def refuse(self, reason: str) -> None:
        """Fall back to musubi-tuner's own forward pass from now on, and report `reason`."""
        self.refused = reason
        self._fast.detach()
        self._fast.widen(None)
        logger.warning("Steps now use musubi-tuner's own forward pass, uncompiled: %s", reason)
        self._hooks.on_refused(reason)

    def compute(self, loss: Callable[[], Loss]) -> Loss:
        """Return a loss and its metrics.

        If memory runs out, let blocks keep less for the backward pass, and compute the loss again.
        The returned loss is detached, so that only the session keeps its graph alive.
        """
        if not self.is_on:
            return loss()
        self._again, self._states = loss, randomness.snapshot(0)
        value, metrics = self._computed()
        return value.detach(), metrics

    def differentiate(self, backward: Callable[..., None], network: Any, given: Tensor) -> None:
        """Run the backward pass of the latest loss.

        If memory runs out, let blocks keep less, and repeat the whole step.

        Args:
            backward: Runs the backward pass of the loss that it is given.
            network: The adapters. They must not hold gradients from other losses.
            given: The loss that `compute` returned. It is used only if `compute` ran uncompiled;
                otherwise the session itself keeps the loss with its graph.
        """
        if self._loss is None:
            backward(given)
            return
        while not self._went(lambda: backward(self._take_loss())):
            for weight in network.parameters():
                weight.grad = None
            self._lower()
            self._computed()
        if self._size is not None and self._size.memory.end():
            logger.info("After measuring a step: %s", self._size.memory.plan)
        if self._has_new_graphs:
            self._has_new_graphs = False
            self._hooks.on_compiled()

    def _take_loss(self) -> Tensor:
        loss, self._loss = self._loss, None
        if loss is None:
            raise ValueError("there is no loss")
        return loss

    def _computed(self) -> Loss:
        found: list[Loss] = []
        again = self._again
        if again is None:
            raise ValueError("there is no loss to compute again")
        while not self._went(lambda: found.append(again())):
            self._lower()
        self._loss = found[0][0]
        if self._size is not None and self.is_on:
            self._gpu.reset_peak()
            self._tell(self._size)
        return found[0]

    def _went(self, run: Callable[[], None]) -> bool:
        """Call `run`; return False if it ran out of memory."""
        try:
            run()
        except torch.OutOfMemoryError:
            if not self.is_on:
                raise
            return False
        return True

    def _lower(self) -> None:
        """After memory ran out, let blocks keep less; if they cannot, run uncompiled."""
        self._fast.widen(None)
        self._gpu.free_unused()
        randomness.restore(self._states)
        if self._size is None or not self._size.memory.lower():
            self.refuse(_OUT_OF_MEMORY)
            return
        logger.warning("Memory ran out; from now on, %s", self._size.memory.plan)

    def _kept(self, index: int) -> Kept:
        plan = None if self._size is None else self._size.memory.plan
        if plan is None:
            raise UnsupportedError(_OUT_OF_MEMORY)
        return plan.kept(index)

    def _forward(self, index: int, block: Any, call: BlockCall) -> Tensor:
        try:
            size = self._begun(call) if index == 0 else self._size
            if size is None:
                raise UnsupportedError("the first block was skipped")  # noqa: TRY301
            self._check(size, index, call)
            return run_block(self._fast, size.memory, index, block, call)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - the compiler may fail in any way
            self.refuse(f"block {index}: {_first_line(error)}")
        return stock(block, call)

    def _begun(self, call: BlockCall) -> _Size:
        """Return the plan and checks for steps of this size; choose a plan if there is none yet."""
        batch, tokens = call.x.shape[:2]
        size = self._sizes.get((batch, tokens)) or self._size_of(call)
        self._size = self._sizes[batch, tokens] = size
        self._fast.kernel, self._fast.is_dynamic = size.choice.kernel, size.is_dynamic
        if not size.memory.is_settled:
            self._fast.widen(None)  # to measure the free memory without the copies
        size.memory.begin(is_checked=bool(self._unchecked))
        self._fast.widen(call.x.dtype if self._is_wide else None)
        return size

    @property
    def _is_wide(self) -> bool:
        plan = None if self._size is None else self._size.memory.plan
        return plan is not None and plan.is_wide

    def _size_of(self, call: BlockCall) -> _Size:
        block, (batch, tokens, width) = self._model.blocks[0], call.x.shape
        sizes = StepSizes(
            tokens=batch * tokens,
            width=width,
            ffn_width=block.ffn_dim,
            blocks=len(self._model.blocks),
            attentions=3 if hasattr(block.cross_attn, "k_img") else 2,
            is_fp8=self._mode == "fp8",
            weights_bytes=self._fast.bytes_of_copies(call.x.dtype),
        )
        heads = (batch, tokens, block.num_heads, width // block.num_heads)
        choice = fastest(heads, call.x.dtype) if call.x.is_cuda else KernelChoice("torch", {}, {})
        return _Size(StepMemory(sizes, self._gpu), choice, len(self._sizes) >= _OWN_GRAPHS)

    def _check(self, size: _Size, index: int, call: BlockCall) -> None:
        """Check each block once, and each graph on the first block, while memory is still free.

        Raises:
            UnsupportedError: A result is too far from musubi-tuner's own.
        """
        due = set[Kept]()
        if index in self._unchecked:
            due.add(self._kept(index))
        if index == 0:
            ends = set[Kept]((self._kept(0), self._kept(size.memory.sizes.blocks - 1)))
            due |= {kept for kept in ends if (kept, self._is_wide) not in size.checked}
        for kept in due:
            started = time.monotonic()
            with self._hooks.pause_saving():
                verdict = check(self._fast, index, call, kept=kept)
            size.seconds += time.monotonic() - started
            size.verdicts[index] = verdict
            if not verdict.is_equal:
                raise UnsupportedError(f"its check failed, {verdict}")
        size.checked |= {(kept, self._is_wide) for kept in due}
        self._unchecked.discard(index)

    def _tell(self, size: _Size) -> None:
        """After checks, log the choices for this number of tokens, with the reasons."""
        if not size.verdicts:
            return
        index, worst = max(size.verdicts.items(), key=lambda pair: pair[1].share)
        logger.info(
            "Compiled steps (%s) of %s tokens: attention by %s; %s; %d of %d blocks compared with "
            "musubi-tuner's own in %.0f s, the worst result: %s in block %d",
            *(self._mode, f"{size.memory.sizes.tokens:,}", size.choice, size.memory.plan),
            *(len(size.verdicts), size.memory.sizes.blocks, size.seconds, worst, index),
        )
        size.verdicts.clear()
        self._has_new_graphs = True
        previous, record = self._hooks.previous, self.record
        if previous not in (None, record):
            logger.warning(
                "Earlier steps were computed with %s; steps from now on use %s", previous, record
            )


def _require_fp8(device: torch.device) -> None:
    if device.type != "cuda" or torch.cuda.get_device_capability(device) < _FP8_PRODUCTS:
        raise UnsupportedError("this GPU cannot compute fp8 products; an H100 or an L40S can")


def _first_line(error: Exception) -> str:
    first = (str(error).strip() or "no message").splitlines()[0][:_LONGEST]
    return first if isinstance(error, UnsupportedError) else f"{type(error).__name__}: {first}"
