"""Switches the blocks of a loaded model to the compiled forward pass, and back."""

# torch and musubi-tuner leave parts of their API untyped.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from training.musubi.launcher.fast.attention import Kernel
from training.musubi.launcher.fast.block import (
    EPSILON,
    Heads,
    Rotation,
    forward,
    rotation_of,
    weight_in,
)
from training.musubi.launcher.fast.graph import Kept, Run, compiled
from training.musubi.launcher.fast.layers import (
    Attention,
    Block,
    Layer,
    UnsupportedError,
    block_of,
    layers_of,
)
from training.musubi.launcher.fast.products import FP8, dequantized, quantized

# How many graphs torch may compile for one function; each number of tokens may need its own graph.
_MOST_GRAPHS = 64
_DYNAMO: Any = importlib.import_module("torch._dynamo")


@dataclass(frozen=True, slots=True)
class BlockCall:
    """The arguments of one call of `WanAttentionBlock.forward`, in musubi-tuner's order."""

    x: Tensor
    e: Tensor
    seq_lens: Tensor
    grid_sizes: Tensor
    freqs: list[Tensor]
    context: Tensor
    context_lens: None

    def arguments(self, x: Tensor) -> tuple[object, ...]:
        """Return all arguments, with `x` instead of the call's own tokens."""
        shape = (self.e, self.seq_lens, self.grid_sizes, self.freqs)
        return (x, *shape, self.context, self.context_lens)


Forward = Callable[[int, Any, BlockCall], Tensor]


@dataclass
class FastModel:
    """A `WanModel` whose blocks each run as one compiled graph.

    Args:
        model: musubi-tuner's model, with adapters applied.
        kept: Takes a block's index; returns what that block keeps for the backward pass.
        kernel: The kernel of self-attention.
        is_fp8: Whether products with frozen weights are computed in fp8.
        is_dynamic: Whether one graph serves every number of tokens.
    """

    model: Any
    kept: Callable[[int], Kept]
    kernel: Kernel = "torch"
    is_fp8: bool = False
    is_dynamic: bool = False
    _embeds_once: bool = False
    _rotations: dict[int, tuple[Tensor, Rotation]] = field(
        default_factory=dict[int, tuple[Tensor, Rotation]]
    )
    _copied: torch.dtype | None = None
    _copies: dict[int, tuple[Tensor, Tensor]] = field(
        default_factory=dict[int, tuple[Tensor, Tensor]]
    )
    _anew: dict[int, tuple[Tensor, Tensor]] = field(
        default_factory=dict[int, tuple[Tensor, Tensor]]
    )

    def attach(self, instead: Forward | None = None) -> None:
        """Make every block run the compiled forward pass, or `instead` if it is given.

        Raises:
            UnsupportedError: Only musubi-tuner's own forward pass can compute this model.
        """
        self._embeds_once = self.model.force_v2_1_time_embedding
        _check(self.model)
        for block in self.model.blocks:
            block_of(block)
        # Without this, Wan 2.2 repeats the time embedding for each token, although a sample has
        # only one timestep. At 21,600 tokens, these identical copies take 2.6 GB.
        if self.model.model_version != "2.1" and not self._embeds_once:
            self.model.set_time_embedding_v2_1(True)
        _DYNAMO.config.recompile_limit = _MOST_GRAPHS
        for index, block in enumerate(self.model.blocks):
            block.forward = partial(self._forward, instead or self._run, index, block)

    def detach(self) -> None:
        """Make every block run musubi-tuner's own forward pass again."""
        for block in self.model.blocks:
            vars(block).pop("forward", None)
        self.model.force_v2_1_time_embedding = self._embeds_once

    def _forward(self, run: Forward, index: int, block: Any, *given: Any, **named: Any) -> Tensor:
        call = BlockCall(*given, **named)
        return run(index, block, call) if block.training else stock(block, call)

    def _run(self, index: int, block: Any, call: BlockCall) -> Tensor:
        return self.run(self.kept(index), block, call, call.x)

    def run(self, kept: Kept, block: Any, call: BlockCall, x: Tensor) -> Tensor:
        """Return the output of a block for tokens `x` and the other arguments of `call`."""
        run = compiled(kept, block.ffn_dim, is_dynamic=self.is_dynamic)
        return self._computed(
            run, self.tensors(block), call, x, Heads(block.num_heads, self.kernel)
        )

    def reference(self, block: Any, tensors: Block, call: BlockCall, x: Tensor) -> Tensor:
        """Return a block's output with the weights in `tensors`, computed without compilation."""
        return self._computed(forward, tensors, call, x, Heads(block.num_heads))

    def _computed(
        self, run: Run, tensors: Block, call: BlockCall, x: Tensor, heads: Heads
    ) -> Tensor:
        e = call.e.squeeze(1) if call.e.ndim == 4 else call.e
        if e.ndim != 3:
            raise UnsupportedError("a sample has several timesteps")
        rotation = self._rotation(call.freqs)
        if self.is_dynamic:
            _mark(x, rotation)
        # The graph does its own casts, so autocast is off. The context is in fp32 if it begins with
        # the first frame's embedding, so cast it. Detach it, because it needs no gradient.
        with torch.autocast(x.device.type, enabled=False):
            return run(x, e, rotation, call.context.detach().to(x.dtype), tensors, heads)

    def quantize(self) -> None:
        """Make the fp8 copies of the weights now, so that the free memory can then be measured."""
        for block in self.model.blocks:
            self.tensors(block)

    def tensors(self, block: Any) -> Block:
        """Return a block's weights and adapters; if `is_fp8`, its layers compute in fp8."""
        if self.is_fp8:
            return map_layers(block_of(block), self._fp8)
        return block_of(block) if self._copied is None else map_layers(block_of(block), self._wide)

    def bytes_of_copies(self, dtype: torch.dtype) -> int:
        """Return how much memory copies of the frozen weights in `dtype` take."""
        if self.is_fp8:
            return 0
        layers = (layer for block in self.model.blocks for layer in layers_of(block_of(block)))
        weights = (layer.weight for layer in layers if layer.weight.dtype != dtype)
        return sum(weight.numel() * dtype.itemsize for weight in weights)

    def widen(self, dtype: torch.dtype | None) -> None:
        """Compute with copies of the frozen weights in `dtype` from now on; None to drop them."""
        if dtype == self._copied:
            return
        self._copies.clear()
        self._copied = dtype
        if dtype is not None:
            for block in self.model.blocks:
                self.tensors(block)

    def _rotation(self, frequencies: list[Tensor]) -> Rotation:
        # musubi-tuner keeps one tensor per latent shape; all samples of a batch share one shape.
        first = frequencies[0]
        if any(other is not first for other in frequencies):
            raise UnsupportedError("the samples of a batch differ in shape")
        if id(first) not in self._rotations:
            self._rotations[id(first)] = (first, rotation_of(first))
        return self._rotations[id(first)][1]

    def _wide(self, layer: Layer) -> Layer:
        if self._copied is None or layer.weight.dtype == self._copied:
            return layer
        key = id(layer.weight)
        if key not in self._copies:
            self._copies[key] = layer.weight, weight_in(layer, self._copied)
        return layer._replace(weight=self._copies[key][1], block_scale=None)

    def _fp8(self, layer: Layer) -> Layer:
        if layer.weight.dtype == FP8 and layer.block_scale is None:
            return layer._replace(is_fp8=True)
        key = id(layer.weight)
        if key not in self._anew:
            weight, scales = quantized(dequantized(layer, layer.weight))
            self._anew[key] = weight, scales.squeeze(1)
        weight, scale = self._anew[key]
        return layer._replace(weight=weight, block_scale=None, is_fp8=True, row_scale=scale)


def stock(block: Any, call: BlockCall, x: Tensor | None = None) -> Tensor:
    """Return a block's output from musubi-tuner's own forward pass.

    `x`, if given, replaces the tokens of `call`.
    """
    output: Tensor = type(block).forward(block, *call.arguments(call.x if x is None else x))
    return output


def _mark(x: Tensor, rotation: Rotation) -> None:
    _DYNAMO.maybe_mark_dynamic(x, 1)
    for table in rotation:
        _DYNAMO.maybe_mark_dynamic(table, 0)


def map_layers(block: Block, change: Callable[[Layer], Layer]) -> Block:
    """Return the block with `change` applied to every layer."""

    def attention(part: Attention) -> Attention:
        layers: dict[str, Any] = part._asdict()
        for name, value in layers.items():
            layers[name] = change(value) if isinstance(value, Layer) else value
        return Attention(**layers)

    return block._replace(
        self_attention=attention(block.self_attention),
        cross_attention=attention(block.cross_attention),
        ffn_in=change(block.ffn_in),
        ffn_out=change(block.ffn_out),
    )


def _check(model: Any) -> None:
    reasons: Mapping[str, bool] = {
        "blocks are swapped to the CPU": bool(model.blocks_to_swap),
        "attention is not torch's": model.attn_mode not in ("torch", "sdpa") or model.split_attn,
        "activations are moved to the CPU": model.activation_cpu_offloading,
        "the model has a different epsilon": model.eps != EPSILON,
        "the model attends within windows": tuple(model.window_size) != (-1, -1),
    }
    for reason, holds in reasons.items():
        if holds:
            raise UnsupportedError(reason)
