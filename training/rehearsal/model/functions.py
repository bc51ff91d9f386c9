"""The functions of a transformer in NumPy, with their derivatives.

A differentiable function returns its value and a function `back`. `back` takes the gradient of the
loss with respect to the value, and returns the gradients with respect to the arguments. The last
axis is the width d. NumPy is used because importing torch would take longer than most rehearsals.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.floating[Any]]
Back = Callable[[Values], Values]

EPSILON = 1e-6
_GELU = math.sqrt(2.0 / math.pi), 0.044715
_erf = np.vectorize(math.erf, otypes=[np.float64])


def linear(values: Values, weight: Values, bias: Values) -> Values:
    """Return `values` [..., d] times `weight` [out, d], plus `bias` [out]."""
    return values @ weight.T + bias


def silu(values: Values) -> Values:
    return values / (1.0 + np.exp(-values))


def exact_gelu(values: Values) -> Values:
    return (values * 0.5 * (1.0 + _erf(values / math.sqrt(2.0)))).astype(values.dtype)


def gelu(values: Values) -> tuple[Values, Back]:
    """Return GELU, computed by its tanh approximation."""
    scale, cubic = _GELU
    squared = values * values
    curve = np.tanh(scale * values * (1.0 + cubic * squared))
    slope = scale * (1.0 + 3.0 * cubic * squared)

    def back(gradient: Values) -> Values:
        return gradient * 0.5 * (1.0 + curve + values * (1.0 - curve * curve) * slope)

    return 0.5 * values * (1.0 + curve), back


def layer_norm(values: Values) -> tuple[Values, Back]:
    """Normalize `values` along the last axis to mean 0 and variance 1."""
    centred = values - values.mean(axis=-1, keepdims=True)
    normal, back_scaled = rms_norm(centred)

    def back(gradient: Values) -> Values:
        gradient = back_scaled(gradient)
        return gradient - gradient.mean(axis=-1, keepdims=True)

    return normal, back


def rms_norm(values: Values) -> tuple[Values, Back]:
    """Normalize `values` along the last axis to a mean square of 1."""
    inverse = 1.0 / np.sqrt((values * values).mean(axis=-1, keepdims=True) + EPSILON)
    normal = values * inverse

    def back(gradient: Values) -> Values:
        return inverse * (gradient - normal * (gradient * normal).mean(axis=-1, keepdims=True))

    return normal, back


def attention(
    queries: Values, keys: Values, values: Values
) -> tuple[Values, Callable[[Values], tuple[Values, Values, Values]]]:
    """Return the scaled dot-product attention of `queries` [..., s, d] to `keys` [..., l, d]."""
    scale = 1.0 / math.sqrt(queries.shape[-1])
    scores = queries @ keys.swapaxes(-1, -2) * scale
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)

    def back(gradient: Values) -> tuple[Values, Values, Values]:
        by_weights = gradient @ values.swapaxes(-1, -2)
        by_scores = weights * (by_weights - (by_weights * weights).sum(axis=-1, keepdims=True))
        by_scores *= scale
        by_values = weights.swapaxes(-1, -2) @ gradient
        return by_scores @ keys, by_scores.swapaxes(-1, -2) @ queries, by_values

    return weights @ values, back


def rotate(values: Values, cosine: Values, sine: Values) -> tuple[Values, Back]:
    """Rotate each pair of adjacent values [..., d] by its angle [..., d / 2], for RoPE."""

    def turned(pairs: Values, sine: Values) -> Values:
        even, odd = pairs[..., ::2], pairs[..., 1::2]
        result = np.empty_like(pairs)
        result[..., ::2] = even * cosine - odd * sine
        result[..., 1::2] = even * sine + odd * cosine
        return result

    return turned(values, sine), lambda gradient: turned(gradient, -sine)
