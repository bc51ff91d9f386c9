"""Compares a block's compiled forward and backward pass with musubi-tuner's own."""

# torch and musubi-tuner leave parts of their API untyped.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

import math
import statistics
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from training.musubi.launcher.fast.graph import Kept
from training.musubi.launcher.fast.layers import Attention, Block, Layer, block_of
from training.musubi.launcher.fast.model import BlockCall, FastModel, map_layers, stock
from training.musubi.launcher.fast.products import FP8, dequantized, unrounded

# How far results may be from the expected ones. In 16 bit, musubi-tuner's results are expected, and
# the limit is twice the distance that a different attention kernel causes. In fp8, the results with
# 16-bit weights are expected, and the limit is 1.5 times the distance that `--fp8_base` causes by
# rounding the weights, but not the layers' inputs, to fp8.
TIMES, FP8_TIMES = 2.0, 1.5
_SMALLEST = 1e-4
# Random gradients are multiplied by this, so that sums over all tokens stay in the range of fp16.
_GRADIENT = 1 / 16
_AWAKE = 0.01
# The attention kernels to compare with torch's default, which is cuDNN on an H100 and
# FlashAttention-2 on an A100. The first that gives different results sets the limit.
_OTHERS = (
    [SDPBackend.FLASH_ATTENTION, SDPBackend.MATH],
    [SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH],
)

Forward = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Distances:
    """Relative distances ||a - b|| / ||b|| of a block's output and gradients."""

    output: float
    input_gradient: float
    adapters: tuple[float, ...]

    @property
    def values(self) -> tuple[float, ...]:
        return self.output, self.input_gradient, *self.adapters

    def __str__(self) -> str:
        return (
            f"output {self.output:.2e}, input gradient {self.input_gradient:.2e}, "
            f"worst adapter {max(self.adapters, default=0.0):.2e}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How far a block's compiled results are from the expected ones, and how far they may be.

    Attributes:
        fast: The distances of the compiled results.
        stock: The distances that a different attention kernel causes; in fp8, the distances that
            rounding the weights causes.
        times: The limit for `fast`, as a multiple of `stock`.
        names: The names of the adapter weights, in the order of `Distances.adapters`.
    """

    fast: Distances
    stock: Distances
    times: float
    names: tuple[str, ...]

    @property
    def is_equal(self) -> bool:
        return self.share <= 1.0

    @property
    def share(self) -> float:
        """The largest distance as a share of its limit; infinite if a distance is NaN."""
        return max(self._shares())

    @property
    def worst(self) -> str:
        """The name of the result whose distance is the largest share of its limit."""
        names = ("output", "input gradient", *self.names)
        return max(zip(self._shares(), names, strict=True))[1]

    def _shares(self) -> list[float]:
        # The gradients of some adapters hardly change with the attention kernel. For these
        # adapters, the median change over all adapters sets the limit.
        typical = statistics.median([far for far in self.stock.adapters if far] or [0.0])
        floors = (0.0, 0.0, *(typical for _ in self.stock.adapters))
        triples = zip(self.fast.values, self.stock.values, floors, strict=True)
        shares = (
            own / max(self.times * max(other, floor), _SMALLEST) for own, other, floor in triples
        )
        return [share if not math.isnan(share) else float("inf") for share in shares]

    def __str__(self) -> str:
        return f"{self.worst} at {self.share:.2f} of its limit"


def check(
    fast: FastModel, index: int, call: BlockCall, *, kept: Kept | None = None, spoil: float = 0.0
) -> Verdict:
    """Compare a block's forward and backward pass with musubi-tuner's, on the arguments of `call`.

    The second matrices of the adapters get random values during the comparison.

    Args:
        fast: The model.
        index: The block.
        call: The arguments of the forward pass.
        kept: What the block keeps for the backward pass; None to follow the plan.
        spoil: A relative error to add to the compiled output, to test the check.
    """
    adapters = trained(fast.tensors(fast.model.blocks[index]))
    with _awake(adapters):
        return _compared(fast, index, call, kept or fast.kept(index), spoil)


def _compared(fast: FastModel, index: int, call: BlockCall, kept: Kept, spoil: float) -> Verdict:
    block = fast.model.blocks[index]
    adapters = trained(fast.tensors(block))
    generator = torch.Generator(call.x.device).manual_seed(0)
    drawn = torch.randn(
        call.x.shape, generator=generator, device=call.x.device, dtype=torch.float32
    )
    gradient = (drawn * _GRADIENT).to(call.x.dtype)

    def results(forward: Forward) -> list[Tensor]:
        return _results(forward, call.x, list(adapters.values()), gradient)

    def own(x: Tensor) -> Tensor:
        y = fast.run(kept, block, call, x)
        return x + (y - x) * (1 + spoil)

    def uncompiled(change: Callable[[Layer], Layer]) -> list[Tensor]:
        weights = map_layers(block_of(block), change)
        return results(lambda x: fast.reference(block, weights, call, x))

    usual = results(lambda x: stock(block, call, x))
    apart = _of_another_kernel(lambda: results(lambda x: stock(block, call, x)), usual)
    names = tuple(adapters)
    if not fast.is_fp8:
        found = _distances(results(own), usual)
        return Verdict(fast=found, stock=apart, times=TIMES, names=names)
    # First check the uncompiled forward pass, because fp8 results are compared with it.
    found = _distances(uncompiled(lambda layer: layer), usual)
    basis = Verdict(fast=found, stock=apart, times=TIMES, names=names)
    if not basis.is_equal:
        return basis
    dtype = call.x.dtype
    expected = uncompiled(lambda layer: _in_16_bit(layer, dtype))
    rounded = _distances(uncompiled(lambda layer: _cast(_in_16_bit(layer, dtype))), expected)
    found = _distances(results(own), expected)
    return Verdict(fast=found, stock=rounded, times=FP8_TIMES, names=names)


def _in_16_bit(layer: Layer, dtype: torch.dtype) -> Layer:
    """Return the layer with random 16-bit weights that round to its fp8 weights."""
    weight = dequantized(layer, unrounded(layer.weight)).to(dtype)
    return layer._replace(weight=weight, block_scale=None)


def _cast(layer: Layer) -> Layer:
    """Return the layer with its weights rounded as `--fp8_base` rounds them."""
    return layer._replace(weight=layer.weight.to(FP8))


@contextmanager
def _awake(adapters: dict[str, Tensor]) -> Generator[None]:
    """Give the second matrices of all adapters random values inside this context.

    In new adapters, these matrices are zero, which makes many gradients zero. After a few steps,
    the ranks of such a matrix still differ so little that a gradient's error is close to a single
    random number, and two such errors cannot be compared. After two steps, one of 40 blocks reached
    1.02 of its limit; with random values, no block exceeded 0.57.
    """
    ups = [weight for name, weight in adapters.items() if name.endswith(".up")]
    before = [weight.detach().clone() for weight in ups]
    with torch.no_grad():
        for weight in ups:
            generator = torch.Generator(weight.device).manual_seed(0)
            weight.normal_(std=_AWAKE, generator=generator)
    try:
        yield
    finally:
        with torch.no_grad():
            for weight, own in zip(ups, before, strict=True):
                weight.copy_(own)


def _of_another_kernel(results: Callable[[], list[Tensor]], usual: list[Tensor]) -> Distances:
    found = Distances(output=0.0, input_gradient=0.0, adapters=())
    for backends in _OTHERS:
        with sdpa_kernel(backends):
            found = _distances(results(), usual)
        if any(found.values):
            break
    return found


def trained(block: Block) -> dict[str, Tensor]:
    """Return the adapter weights of a block that are being trained, keyed by name."""
    found: dict[str, Tensor] = {}
    for name, part in block._asdict().items():
        layers = part._asdict() if isinstance(part, Attention) else {"": part}
        for inner, layer in layers.items():
            if isinstance(layer, Layer):
                where = f"{name}.{inner}".rstrip(".")
                found |= {f"{where}.{side}": w for side, w in _sides(layer)}
    return found


def _sides(layer: Layer) -> list[tuple[str, Tensor]]:
    sides = (("down", layer.down), ("up", layer.up))
    return [(side, weight) for side, weight in sides if weight is not None and weight.requires_grad]


def _results(forward: Forward, x: Tensor, adapters: list[Tensor], gradient: Tensor) -> list[Tensor]:
    given = x.detach().requires_grad_(True)
    with torch.enable_grad():
        y = forward(given)
        found: Any = torch.autograd.grad(y, [given, *adapters], gradient)
    # The residual stream passes through unchanged, so compare only the block's contribution.
    return [(y - given).detach(), *found]


def _distances(found: list[Tensor], expected: list[Tensor]) -> Distances:
    far = [_distance(a, b) for a, b in zip(found, expected, strict=True)]
    return Distances(output=far[0], input_gradient=far[1], adapters=tuple(far[2:]))


def _distance(a: Tensor, b: Tensor) -> float:
    difference = float(torch.linalg.vector_norm(a.float() - b.float()))
    size = float(torch.linalg.vector_norm(b.float()))
    return difference / size if size else difference
