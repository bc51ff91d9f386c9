"""The tensors of one Wan block and its adapters, as the arguments of a compiled graph.

A graph that reads modules is bound to them, so torch would recompile it for each block. A graph
that takes tensors serves every block of the model.
"""

# torch and musubi-tuner leave parts of their API untyped.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor

ADAPTER = ("musubi_tuner.networks.lora", "LoRAModule")


class UnsupportedError(Exception):
    """A model, adapter or setting that only musubi-tuner's own forward pass can compute."""


class Layer(NamedTuple):
    """A linear layer: the frozen base and the adapter on it.

    `weight` [out, in] is in 16 bit or fp8; `block_scale` [out, blocks, 1] holds the divisors that
    `--fp8_scaled` applied to the weights. `down` [rank, in] and `up` [out, rank] are the adapter,
    applied with `strength`. With `is_fp8`, products are computed in fp8; if the weights were
    quantized again for them, `row_scale` [out] is the scale of the new weights.
    """

    weight: Tensor
    bias: Tensor | None
    block_scale: Tensor | None = None
    down: Tensor | None = None
    up: Tensor | None = None
    strength: float = 1.0
    is_fp8: bool = False
    row_scale: Tensor | None = None


class Attention(NamedTuple):
    """The weights of one attention module.

    The last three fields exist only in Wan 2.1 I2V, for attending to the first frame's CLIP tokens.
    """

    q: Layer
    k: Layer
    v: Layer
    o: Layer
    norm_q: Tensor
    norm_k: Tensor
    k_img: Layer | None = None
    v_img: Layer | None = None
    norm_k_img: Tensor | None = None


class Block(NamedTuple):
    """One transformer block; `modulation` is [1, 6, d]."""

    modulation: Tensor
    self_attention: Attention
    cross_attention: Attention
    norm3: tuple[Tensor, Tensor] | None
    ffn_in: Layer
    ffn_out: Layer


def layers_of(block: Block) -> list[Layer]:
    parts: list[object] = [block.ffn_in, block.ffn_out]
    parts += [*block.self_attention, *block.cross_attention]
    return [part for part in parts if isinstance(part, Layer)]


def weight_shapes(block: Block) -> frozenset[tuple[int, ...]]:
    """Return all shapes of a block's frozen weights.

    These include the shape [out, blocks, in / blocks] in which block scales are applied.
    """
    found: set[tuple[int, ...]] = set()
    for layer in layers_of(block):
        found.add(tuple(layer.weight.shape))
        if layer.block_scale is not None:
            outputs, blocks = layer.block_scale.shape[:2]
            found.add((outputs, blocks, layer.weight.shape[1] // blocks))
    return frozenset(found)


# Any, because musubi-tuner is not installed where this is type-checked.
def block_of(module: Any) -> Block:
    """Return the current tensors of a `WanAttentionBlock`.

    Raises:
        UnsupportedError: One of its layers computes something that `Layer` cannot describe.
    """
    affine = module.norm3 if module.cross_attn_norm else None
    return Block(
        modulation=module.modulation,
        self_attention=_attention_of(module.self_attn),
        cross_attention=_attention_of(module.cross_attn),
        norm3=None if affine is None else (affine.weight, affine.bias),
        ffn_in=_layer_of(module.ffn[0]),
        ffn_out=_layer_of(module.ffn[2]),
    )


def _attention_of(module: Any) -> Attention:
    if not module.qk_norm:
        raise UnsupportedError("the model does not normalize queries and keys")
    attention = Attention(
        _layer_of(module.q),
        _layer_of(module.k),
        _layer_of(module.v),
        _layer_of(module.o),
        module.norm_q.weight,
        module.norm_k.weight,
    )
    if not hasattr(module, "k_img"):
        return attention
    return attention._replace(
        k_img=_layer_of(module.k_img),
        v_img=_layer_of(module.v_img),
        norm_k_img=module.norm_k_img.weight,
    )


def _layer_of(linear: Any) -> Layer:
    own: Mapping[str, Any] = vars(linear)
    scale = getattr(linear, "scale_weight", None)
    if scale is not None and scale.ndim != 3:
        raise UnsupportedError(f"fp8 weights have a scale of shape {tuple(scale.shape)}")
    base = Layer(linear.weight, linear.bias, scale)
    forward: Any = own.get("forward")
    adapter: Any = getattr(forward, "__self__", linear)
    if adapter is linear:
        return base
    _check_adapter(adapter)
    strength = float(adapter.multiplier * adapter.scale)
    return base._replace(
        down=adapter.lora_down.weight, up=adapter.lora_up.weight, strength=strength
    )


def _check_adapter(adapter: Any) -> None:
    kind: type[Any] = type(adapter)
    if (kind.__module__.removeprefix("musubi_tuner."), kind.__name__) != (
        ADAPTER[0].removeprefix("musubi_tuner."),
        ADAPTER[1],
    ):
        raise UnsupportedError(f"adapters are of type {kind.__qualname__}")
    if adapter.split_dims is not None:
        raise UnsupportedError("adapters are split")
    if adapter.dropout or adapter.rank_dropout or adapter.module_dropout:
        raise UnsupportedError("adapters are trained with dropout")
