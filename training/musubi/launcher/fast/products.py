"""Matrix products with frozen weights, in 16 bit and in fp8.

In fp8, the forward and the backward product use the same copy of the weights, which has one scale
per output channel. The forward product applies the scale to its result; the backward product
applies it to its input, before quantizing that input.
"""

# torch and musubi-tuner leave parts of their API untyped.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from training.musubi.launcher.fast.layers import Layer

FP8 = torch.float8_e4m3fn
# 2**-6 is the smallest normal number of this type, whose mantissa has three bits.
_LEAST_EXPONENT, _BITS = -6, 3
# torch has no public name for its product of fp8 matrices.
_TORCH: Any = torch
_LARGEST = 448.0
_SMALLEST = 1e-30
# The tensor cores' fp8 products need sizes that are multiples of this.
_MULTIPLE = 16
# With fewer tokens, quantizing takes more time than an fp8 product saves.
_FEWEST_TOKENS = 1024


@torch.library.custom_op("lorabot::linear", mutates_args=())
def linear_with_bias(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return `x @ weight.T + bias`, rounded once.

    This is a custom operator because the compiler would split off the bias and round twice. The
    second rounding matters for the gradients of the query and key adapters: the terms summed there
    nearly cancel, so small errors weigh heavily. In bf16 at 21,600 tokens, rounding twice moves
    these gradients 3.7 times as far from musubi-tuner's as switching to another attention kernel
    does.
    """
    return F.linear(x, weight, bias)


@linear_with_bias.register_fake
def _(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:  # noqa: ARG001
    return x.new_empty((*x.shape[:-1], weight.shape[0]))


def _keep_weight(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:  # noqa: ARG001
    ctx.save_for_backward(inputs[1])


def _through_weight(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
    (weight,) = ctx.saved_tensors
    return gradients[0] @ weight, None, None


linear_with_bias.register_autograd(_through_weight, setup_context=_keep_weight)


def fits(x: Tensor, weight: Tensor) -> bool:
    """Return whether the product of `x` and `weight` can be computed in fp8 and is then faster."""
    rows = x.numel() // x.shape[-1]
    sizes = (*weight.shape,)
    return (
        weight.dtype == FP8
        and rows >= _FEWEST_TOKENS
        and not any(size % _MULTIPLE for size in sizes)
    )


@torch.compiler.allow_in_graph
def fp8_product(x: Tensor, weight: Tensor, scale: Tensor | None) -> Tensor:
    """Return `x @ (scale * weight).T` for `x` [..., in], `weight` [out, in], `scale` [out].

    A `scale` of None means 1.
    """
    product: Tensor = _Product.apply(x, weight, scale)
    return product


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, scale: Tensor | None) -> Tensor:
        ctx.save_for_backward(weight, scale)
        columns = torch.ones(weight.shape[0], device=x.device) if scale is None else scale
        return _scaled(x, weight.t(), columns)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = grad_outputs
        weight, scale = ctx.saved_tensors
        wide = gradient.float() if scale is None else gradient.float() * scale
        # The product needs its second matrix in column-major order, so make a temporary copy in
        # that layout. This takes 0.1 ms for all weights of a block, and avoids keeping both layouts
        # in memory.
        turned = weight.t().contiguous().t()
        columns = torch.ones(weight.shape[1], device=gradient.device)
        return _scaled(wide, turned, columns).to(gradient.dtype), None, None


def _scaled(x: Tensor, matrix: Tensor, columns: Tensor) -> Tensor:
    rows, scales = quantized(x.flatten(0, -2))
    y: Tensor = _TORCH._scaled_mm(
        rows,
        matrix,
        scale_a=scales,
        scale_b=columns.unsqueeze(0),
        out_dtype=torch.bfloat16,
        use_fast_accum=True,
    )
    dtype = torch.bfloat16 if x.dtype == torch.float32 else x.dtype
    return y.to(dtype).unflatten(0, x.shape[:-1])


def quantized(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return `x` [m, k] in fp8, and the scale [m, 1] of each row."""
    wide = x.float()
    scales = (wide.abs().amax(dim=-1, keepdim=True) / _LARGEST).clamp(min=_SMALLEST)
    return (wide / scales).clamp(-_LARGEST, _LARGEST).to(FP8), scales


def dequantized(layer: Layer, weight: Tensor) -> Tensor:
    """Return `weight` multiplied by the layer's block scale, or unchanged if it has none."""
    if layer.block_scale is None:
        return weight
    wide = weight.float().view(*layer.block_scale.shape[:2], -1)
    return (wide * layer.block_scale.float()).view(weight.shape)


def unrounded(weight: Tensor) -> Tensor:
    """Return random fp32 numbers that round to `weight`, which is in fp8.

    A weight in another type is only converted to fp32.
    """
    if weight.dtype != FP8:
        return weight.float()
    generator = torch.Generator(weight.device).manual_seed(0)
    drawn = torch.rand(weight.shape, generator=generator, device=weight.device) - 0.5
    wide = weight.float()
    exponents = torch.frexp(wide).exponent - 1
    exponents = torch.where(wide == 0, _LEAST_EXPONENT, exponents).clamp(min=_LEAST_EXPONENT)
    return wide + drawn * torch.exp2((exponents - _BITS).float())
