"""The forward pass of one Wan block, as a function of tensors that compiles into one graph.

It computes and rounds as `WanAttentionBlock._forward` of musubi-tuner does under autocast. Two
parts that would break the graph are written differently: the rotation uses real numbers from
tables, and attention calls its kernel directly.
"""

# torch and musubi-tuner leave parts of their API untyped.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from training.musubi.launcher.fast.attention import Kernel, attend
from training.musubi.launcher.fast.layers import Attention, Block, Layer
from training.musubi.launcher.fast.products import fits, fp8_product, linear_with_bias

EPSILON = 1e-6
_CLIP_TOKENS = 257


class Rotation(NamedTuple):
    """A cosine and a sine for each pair of a head's channels; both tensors are [s, 1, c]."""

    cos: Tensor
    sin: Tensor


class Heads(NamedTuple):
    """The number of attention heads, and the kernel of self-attention."""

    count: int  # pyright: ignore[reportIncompatibleMethodOverride]  # hides tuple.count
    kernel: Kernel = "torch"


def rotation_of(frequencies: Tensor) -> Rotation:
    """Return the cosines and sines of musubi-tuner's complex frequencies [s, 1, c]."""
    return Rotation(frequencies.real.float().contiguous(), frequencies.imag.float().contiguous())


def forward(
    x: Tensor, modulation: Tensor, rotation: Rotation, context: Tensor, block: Block, heads: Heads
) -> Tensor:
    """Return the block's output for tokens `x` [b, s, d].

    Args:
        x: The tokens, in the dtype that matrix products take.
        modulation: The time embedding [b, 6, d], one per sample.
        rotation: The rotation tables for the latent's shape.
        context: The encoded text [b, t, d]; in Wan 2.1 I2V, the first frame's 257 CLIP tokens
            precede the text's.
        block: The block's weights and adapters.
        heads: The number of attention heads, and the kernel of self-attention.
    """
    e = (block.modulation.float() + modulation).chunk(6, dim=1)
    y = _modulated(x, e[0], e[1])
    y = _self_attention(y, rotation, block.self_attention, heads)
    x = (_wide(x) + _wide(y) * e[2]).to(x.dtype)
    x = x + _cross_attention(_norm3(x, block), context, block.cross_attention, heads.count)
    y = F.gelu(linear(_modulated(x, e[3], e[4]), block.ffn_in), approximate="tanh")
    y = linear(y, block.ffn_out)
    return (_wide(x) + _wide(y) * e[5]).to(x.dtype)


def linear(x: Tensor, layer: Layer) -> Tensor:
    """Return the layer's output, including the adapter's part."""
    y = _frozen(x, layer)
    if layer.down is None or layer.up is None:
        return y
    low = F.linear(F.linear(x, layer.down.to(x.dtype)), layer.up.to(x.dtype))
    return y + low * layer.strength


def _frozen(x: Tensor, layer: Layer) -> Tensor:
    bias = None if layer.bias is None else layer.bias.to(x.dtype)
    if layer.is_fp8 and fits(x, layer.weight):
        y = fp8_product(x, layer.weight, layer.row_scale)
        return y if bias is None else y + bias
    weight = weight_in(layer, x.dtype)
    return F.linear(x, weight) if bias is None else linear_with_bias(x, weight, bias)


def weight_in(layer: Layer, dtype: torch.dtype) -> Tensor:
    """Return the layer's frozen weight in `dtype`, with its scale applied."""
    if layer.row_scale is not None:
        return (layer.weight.float() * layer.row_scale.unsqueeze(1)).to(dtype)
    if layer.block_scale is None:
        return layer.weight.to(dtype)
    scale = layer.block_scale
    wide = layer.weight.to(scale.dtype).view(scale.shape[0], scale.shape[1], -1)
    return (wide * scale).view(layer.weight.shape).to(dtype)


def _modulated(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    normed = F.layer_norm(_wide(x), x.shape[-1:], eps=EPSILON).to(x.dtype)
    return (shift + _wide(normed) * (1 + scale)).to(x.dtype)


def _norm3(x: Tensor, block: Block) -> Tensor:
    if block.norm3 is None:
        return x
    weight, bias = block.norm3
    return F.layer_norm(_wide(x), x.shape[-1:], weight.float(), bias.float(), EPSILON).to(x.dtype)


def _self_attention(x: Tensor, rotation: Rotation, part: Attention, heads: Heads) -> Tensor:
    q = _rotated(_split(_rms_norm(linear(x, part.q), part.norm_q), heads.count), rotation)
    k = _rotated(_split(_rms_norm(linear(x, part.k), part.norm_k), heads.count), rotation)
    v = _split(linear(x, part.v), heads.count)
    return linear(attend(q, k, v, heads.kernel), part.o)


def _cross_attention(x: Tensor, context: Tensor, part: Attention, heads: int) -> Tensor:
    text = context if part.k_img is None else context[:, _CLIP_TOKENS:]
    q = _split(_rms_norm(linear(x, part.q), part.norm_q), heads)
    k = _split(_rms_norm(linear(text, part.k), part.norm_k), heads)
    y = attend(q, k, _split(linear(text, part.v), heads), "torch")
    if part.k_img is not None and part.v_img is not None and part.norm_k_img is not None:
        image = context[:, :_CLIP_TOKENS]
        k = _split(_rms_norm(linear(image, part.k_img), part.norm_k_img), heads)
        y = y + attend(q, k, _split(linear(image, part.v_img), heads), "torch")
    return linear(y, part.o)


def _split(x: Tensor, heads: int) -> Tensor:
    return x.unflatten(-1, (heads, -1))


def _rms_norm(x: Tensor, weight: Tensor) -> Tensor:
    wide = _wide(x)
    normed = wide * torch.rsqrt(wide.pow(2).mean(dim=-1, keepdim=True) + EPSILON)
    return normed.to(x.dtype) * weight.to(x.dtype)


def _rotated(x: Tensor, rotation: Rotation) -> Tensor:
    """Rotate each pair of channels of `x` [b, s, n, 2c] by its angle."""
    even, odd = _wide(x).unflatten(-1, (-1, 2)).unbind(-1)
    cos, sin = rotation
    turned = torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1)
    return turned.flatten(-2).to(x.dtype)


def _wide(x: Tensor) -> Tensor:
    """Return `x` in fp32.

    When torch 2.11 compiles for a GPU, it removes a cast to 16 bit that is followed by a cast to
    fp32. That also removes a rounding step of musubi-tuner, and changes a quarter of the values
    from `_modulated`. A view between the two casts makes torch keep both.
    """
    return x.unsqueeze(0).float().squeeze(0)
