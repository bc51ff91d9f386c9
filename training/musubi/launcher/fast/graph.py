"""Compiles a block's forward pass, and decides which results to keep for the backward pass."""

# torch has no public name for the overload of a custom operator.
# pyright: reportPrivateUsage=false

# torch and musubi-tuner leave parts of their API untyped.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Callable
from functools import cache, partial
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.checkpoint import (
    CheckpointPolicy,
    checkpoint,
    create_selective_checkpoint_contexts,
)

from training.musubi.launcher.fast.attention import flash4
from training.musubi.launcher.fast.block import Heads, Rotation, forward
from training.musubi.launcher.fast.layers import Block, weight_shapes
from training.musubi.launcher.fast.products import linear_with_bias

# What a block keeps for the backward pass: the outputs of attention; these and the output of the
# first FFN product; or everything.
Kept = Literal["attention", "ffn", "everything"]

Run = Callable[[Tensor, Tensor, Rotation, Tensor, Block, Heads], Tensor]

_ATEN: Any = torch.ops.aten
_ATTENTION = frozenset(
    [
        *(
            getattr(_ATEN, name).default
            for name in (
                "_scaled_dot_product_cudnn_attention",
                "_scaled_dot_product_flash_attention",
                "_scaled_dot_product_efficient_attention",
                "_scaled_dot_product_flash_attention_for_cpu",
            )
        ),
        flash4._opoverload,
    ]
)

_PRODUCTS = frozenset([_ATEN.mm.default, _ATEN._scaled_mm.default, linear_with_bias._opoverload])

# Make fused operations round where musubi-tuner's separate ones round. Without this, the adapter
# gradients are three times as far from musubi-tuner's as a different attention kernel makes them.
_OPTIONS: Any = {"emulate_precision_casts": True}


@cache
def compiled(kept: Kept, width: int, *, is_dynamic: bool = False) -> Run:
    """Return the compiled forward pass of a block whose FFN is `width` wide.

    Each number of tokens gets its own graph, unless the caller marks the token dimension as
    dynamic. Such callers set `is_dynamic`, to get a compiled function of their own.
    """
    run: Any = partial(_run, kept, width, is_dynamic)
    return torch.compile(run, fullgraph=True, dynamic=False, options=_OPTIONS)


def _run(  # noqa: PLR0913 - one flat call, as the graph takes it
    kept: Kept,
    width: int,
    _is_dynamic: bool,
    x: Tensor,
    modulation: Tensor,
    rotation: Rotation,
    context: Tensor,
    block: Block,
    heads: Heads,
) -> Tensor:
    def computed(x: Tensor) -> Tensor:
        return forward(x, modulation, rotation, context, block, heads)

    contexts = partial(create_selective_checkpoint_contexts, _policy_of(kept, width, block))
    return checkpoint(computed, x, use_reentrant=False, context_fn=contexts)


def _policy_of(kept: Kept, width: int, block: Block) -> Callable[..., Any]:
    if kept == "everything":
        return partial(_all_but_weights, weight_shapes(block))
    return partial(_few, width if kept == "ffn" else 0)


def _few(width: int, _context: Any, operator: Any, *given: Any, **_named: Any) -> Any:
    """Keep the outputs of attention and, if `width` is not 0, of products `width` wide."""
    if operator in _ATTENTION or (width and _is_product(operator, given, width)):
        return CheckpointPolicy.MUST_SAVE
    return CheckpointPolicy.PREFER_RECOMPUTE


def _all_but_weights(
    shapes: frozenset[tuple[int, ...]], _context: Any, operator: Any, *given: Any, **_named: Any
) -> Any:
    """Keep products, attention and whatever else the compiler chooses, except 16-bit weights.

    The 16-bit weights are converted from fp8 weights, and would take 0.65 GiB per block.
    """
    if operator in _ATTENTION or operator in _PRODUCTS:
        return CheckpointPolicy.MUST_SAVE
    first = given[0] if given else None
    if isinstance(first, Tensor) and tuple(first.shape) in shapes:
        return CheckpointPolicy.MUST_RECOMPUTE
    return CheckpointPolicy.PREFER_SAVE


def _is_product(operator: Any, given: tuple[Any, ...], width: int) -> bool:
    """Return whether an operation multiplies by frozen weights, with an output `width` wide."""
    if operator is linear_with_bias._opoverload:
        return given[1].shape[0] == width
    return operator is _ATEN._scaled_mm.default and given[1].shape[-1] == width
