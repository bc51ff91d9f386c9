"""Offers the attention kernels of compiled blocks, and finds the fastest one on this GPU.

`flash-attn-4` is not part of torch, so two custom operators make it usable by the compiler.
"""

# torch and flash-attn-4 leave parts of their API untyped.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

import importlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

# The kernel that torch chooses by itself (cuDNN on an H100), or flash-attn-4's kernel.
Kernel = Literal["torch", "flash4"]

HALF = (torch.float16, torch.bfloat16)
_FLASH4 = "flash_attn.cute.interface"
_HOPPER = (9, 0)
# The kernels' outputs may differ by at most this. On an H100 in bf16, they differ by 0.3%.
_MOST_DISTANCE = 0.01
_ROUNDS = 10
# flash-attn-4 is chosen if it takes at most this many times as long as torch's kernel, because
# whole steps gain more from it. At 3,600 tokens on an H200, both kernels took 1.8 ms, but steps
# took 0.405 s with flash-attn-4 and 0.438 s with torch's kernel.
_CLOSE = 1.1


def attend(q: Tensor, k: Tensor, v: Tensor, kernel: Kernel) -> Tensor:
    """Return the attention's output [b, s, d] for `q`, `k` and `v` [b, s, n, c]."""
    # musubi-tuner computes attention in bf16 if the model computes in fp32.
    dtype = q.dtype if q.dtype in HALF else torch.bfloat16
    query, key, value = (part.to(dtype) for part in (q, k, v))
    if kernel == "flash4":
        y = flash4(query, key, value)[0]
    else:
        heads = (part.transpose(1, 2) for part in (query, key, value))
        query, key, value = heads
        y = F.scaled_dot_product_attention(query, key, value).transpose(1, 2)
    return y.flatten(2).to(q.dtype)


@torch.library.custom_op("lorabot::flash4", mutates_args=())
def flash4(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Return the output [b, s, n, c] and the log-sum-exp [b, n, s] for the backward pass."""
    y, sums, *_ = _interface()._flash_attn_fwd(q, k, v, return_lse=True)
    return y, sums


@torch.library.custom_op("lorabot::flash4_backward", mutates_args=())
def flash4_backward(
    q: Tensor, k: Tensor, v: Tensor, y: Tensor, sums: Tensor, gradient: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of `q`, `k` and `v`."""
    dq, dk, dv = _interface()._flash_attn_bwd(q, k, v, y, gradient, sums)
    return dq, dk, dv


@flash4.register_fake
def _(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ARG001
    batch, tokens, heads = q.shape[:3]
    return q.new_empty(q.shape), q.new_empty((batch, heads, tokens), dtype=torch.float32)


@flash4_backward.register_fake
def _(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    y: Tensor,  # noqa: ARG001
    sums: Tensor,  # noqa: ARG001
    gradient: Tensor,  # noqa: ARG001
) -> tuple[Tensor, Tensor, Tensor]:
    return q.new_empty(q.shape), k.new_empty(k.shape), v.new_empty(v.shape)


def _keep(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(*inputs, *output)


def _differentiate(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return flash4_backward(*ctx.saved_tensors, gradients[0])


flash4.register_autograd(_differentiate, setup_context=_keep)


@cache
def _interface() -> Any:
    return importlib.import_module(_FLASH4)


@dataclass(frozen=True, slots=True)
class KernelChoice:
    """The fastest kernel, and how it was chosen.

    Attributes:
        milliseconds: The time of a forward and backward pass with each kernel.
        refused: Why each kernel that is not in `milliseconds` was left out.
    """

    kernel: Kernel
    milliseconds: Mapping[Kernel, float]
    refused: Mapping[Kernel, str]

    def __str__(self) -> str:
        taken = [f"{kernel} {taken:.1f} ms" for kernel, taken in self.milliseconds.items()]
        refused = [f"{kernel}: {reason}" for kernel, reason in self.refused.items()]
        why = ", ".join([*taken, *refused])
        return f"{self.kernel} ({why})" if why else self.kernel


@cache
def fastest(shape: tuple[int, int, int, int], dtype: torch.dtype) -> KernelChoice:
    """Return the fastest attention kernel for inputs of `shape` [b, s, n, c] on the current GPU."""
    generator = torch.Generator("cuda").manual_seed(0)
    q, k, v, gradient = (
        torch.randn(shape, generator=generator, device="cuda", dtype=dtype) for _ in range(4)
    )
    for part in (q, k, v):
        part.requires_grad_(True)
    taken: dict[Kernel, float] = {}
    refused: dict[Kernel, str] = {}
    expected: Tensor | None = None
    kernels: tuple[Kernel, ...] = ("torch", "flash4")
    for kernel in kernels:
        reason = _missing(kernel)
        if not reason:
            try:
                y = attend(q, k, v, kernel)
                expected = y.detach() if expected is None else expected
                far = _distance(y, expected)
                taken[kernel] = _timed(lambda kernel=kernel: _both(q, k, v, kernel, gradient))
                reason = "" if far <= _MOST_DISTANCE else f"its output is {far:.1%} off"
            except Exception as error:
                if kernel == "torch":
                    raise
                reason = f"{type(error).__name__}: {error}".splitlines()[0]
        if reason:
            taken.pop(kernel, None)
            refused[kernel] = reason
    is_close = taken.get("flash4", math.inf) <= taken["torch"] * _CLOSE
    best: Kernel = "flash4" if is_close else "torch"
    return KernelChoice(best, taken, refused)


def _missing(kernel: Kernel) -> str:
    if kernel == "torch":
        return ""
    if torch.cuda.get_device_capability() < _HOPPER:
        return "needs an H100 or newer"
    try:
        _interface()
    except Exception as error:  # noqa: BLE001 - whatever the reason, the package cannot be used
        return f"not installed ({type(error).__name__}: {error})".splitlines()[0]
    return ""


def _both(q: Tensor, k: Tensor, v: Tensor, kernel: Kernel, gradient: Tensor) -> None:
    y = attend(q, k, v, kernel)
    torch.autograd.grad(y, [q, k, v], gradient.flatten(2))


def _timed(run: Callable[[], None]) -> float:
    """Return how many milliseconds the fastest of a few calls took, not counting the first."""
    run()
    best = math.inf
    for _ in range(_ROUNDS):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        run()
        end.record()
        torch.cuda.synchronize()
        best = min(best, begin.elapsed_time(end))
    return best


def _distance(found: Tensor, expected: Tensor) -> float:
    with torch.no_grad():
        far = torch.linalg.vector_norm((found - expected).float())
        return float(far / torch.linalg.vector_norm(expected.float()))
