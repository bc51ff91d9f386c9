"""A tiny Wan transformer: Wan's modules and tensor names, but few and narrow blocks.

Shapes: b batch, s tokens, d width, l context tokens, h heads. Functions named `back` are
derivatives, as in `functions.py`.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.rehearsal.model.adapter import Adapter
from training.rehearsal.model.functions import (
    Back,
    Values,
    attention,
    exact_gelu,
    gelu,
    layer_norm,
    linear,
    rms_norm,
    rotate,
    silu,
)
from training.rehearsal.model.shape import (
    BLOCKS,
    HEADS,
    IMAGE_TOKENS,
    KEY_PREFIX,
    TIME_WIDTH,
    WIDTH,
)
from training.rehearsal.tensor_file import Floats, floats, read_header

_HEAD_WIDTH = WIDTH // HEADS
_ROPE_POSITIONS = 1024
_ROPE_THETA = 10_000.0

# Takes the gradient of the loss with respect to the velocity; returns the gradient with respect to
# the adapter's parameter.
AdapterBack = Callable[[Values], Floats]
_Rope = tuple[Values, Values]  # cosines and sines [b, 1, s, half a head's width]


class TinyWan:
    """A frozen base model whose output can be differentiated with respect to an adapter."""

    def __init__(self, weights: Mapping[str, Values]) -> None:
        self._weights = weights
        patch = self._weights["patch_embedding.weight"]
        self._patch = patch.reshape(patch.shape[0], -1)
        self._rope = _rope_table()

    @classmethod
    def load(cls, path: Path) -> "TinyWan":
        """Load a model file that has passed `loop.checks.check_files`."""
        header = read_header(path)
        return cls({name.removeprefix(KEY_PREFIX): floats(header, name) for name in header.tensors})

    def embed_context(self, text: Values, image: Values | None) -> Values:
        """Return the context [1, l, d] of text [tokens, 4096] and image [257, 1280].

        `text` comes from T5. `image` comes from CLIP and is None if the model reads no CLIP tokens.
        """
        hidden, _ = gelu(self._linear("text_embedding.0", text))
        context = self._linear("text_embedding.2", hidden)
        if image is not None:
            context = np.concatenate([self._embed_image(image), context])
        return context[None]

    def _embed_image(self, image: Values) -> Values:
        hidden = self._norm("img_emb.proj.0", image)
        hidden = exact_gelu(self._linear("img_emb.proj.1", hidden))
        return self._norm("img_emb.proj.4", self._linear("img_emb.proj.3", hidden))

    def __call__(
        self,
        patches: Values,
        positions: NDArray[np.int64],
        timesteps: Values,
        context: Values,
        adapter: Adapter,
    ) -> tuple[Values, AdapterBack]:
        """Return the predicted velocity of each patch, [b, s, (h, w, c)], and its derivative.

        Args:
            patches: Patches of the noisy latents and the conditioning, [b, s, (c, h, w)].
            positions: Frame, row and column of each token, integers [b, s, 3].
            timesteps: Noise level * 1000 + 1 for each item, [b].
            context: Result of `embed_context` for each item, [b, l, d].
            adapter: The adapter that changes the weights.
        """
        time, modulation = self._embed_time(timesteps)
        angles = np.concatenate(
            [self._rope[axis][positions[..., axis]] for axis in range(3)], axis=-1
        )
        rope = np.cos(angles)[:, None], np.sin(angles)[:, None]
        adapted = _AdaptedLayers(self._weights, adapter)
        stream = linear(patches, self._patch, self._weights["patch_embedding.bias"])
        backs: list[Back] = []
        for number in range(BLOCKS):
            block = _Block(f"blocks.{number}", self._weights, adapted)
            stream, back = block(stream, modulation, context, rope)
            backs.append(back)
        shift, scale = np.split(self._weights["head.modulation"] + time[:, None], 2, axis=1)
        normal, back_norm = layer_norm(stream)
        velocity = self._linear("head.head", normal * (1.0 + scale) + shift)

        def back_all(gradient: Values) -> Floats:
            gradient = gradient @ self._weights["head.head.weight"]
            gradient = back_norm(gradient * (1.0 + scale))
            for back in reversed(backs):
                gradient = back(gradient)
            return adapter.gradient(adapted.gradients)

        return velocity, back_all

    def _embed_time(self, timesteps: Values) -> tuple[Values, Values]:
        half = TIME_WIDTH // 2
        rates = _ROPE_THETA ** (-np.arange(half, dtype=np.float32) / half)
        angles = timesteps[:, None] * rates
        wave = np.concatenate([np.cos(angles), np.sin(angles)], axis=1)
        hidden = silu(self._linear("time_embedding.0", wave))
        time = self._linear("time_embedding.2", hidden)
        modulation = self._linear("time_projection.1", silu(time))
        return time, modulation.reshape(-1, 6, WIDTH)

    def _linear(self, name: str, values: Values) -> Values:
        return linear(values, self._weights[f"{name}.weight"], self._weights[f"{name}.bias"])

    def _norm(self, name: str, values: Values) -> Values:
        return (
            layer_norm(values)[0] * self._weights[f"{name}.weight"] + self._weights[f"{name}.bias"]
        )


class _AdaptedLayers:
    """The linear layers that the adapter changes; each is used once in a step.

    Attributes:
        gradients: The gradient of the loss with respect to each layer's weight, keyed by module.
            The layer's `back` stores it here.
    """

    def __init__(self, frozen: Mapping[str, Values], adapter: Adapter) -> None:
        self._frozen, self._weights = frozen, adapter.adapt(frozen)
        self.gradients: dict[str, Values] = {}

    def __contains__(self, module: str) -> bool:
        return module in self._weights

    def __call__(self, module: str, values: Values) -> tuple[Values, Back]:
        weight = self._weights[module]

        def back(gradient: Values) -> Values:
            outputs, inputs = weight.shape
            self.gradients[module] = gradient.reshape(-1, outputs).T @ values.reshape(-1, inputs)
            return gradient @ weight

        return linear(values, weight, self._frozen[f"{module}.bias"]), back


class _Block:
    """Self-attention, cross-attention and feed-forward, each with a residual connection."""

    def __init__(self, prefix: str, frozen: Mapping[str, Values], adapted: _AdaptedLayers) -> None:
        self._prefix, self._frozen, self._adapted = prefix, frozen, adapted

    def __call__(
        self, stream: Values, modulation: Values, context: Values, rope: _Rope
    ) -> tuple[Values, Back]:
        shifts = np.split(self._frozen[f"{self._prefix}.modulation"] + modulation, 6, axis=1)
        stream, back_self = self._self_attention(stream, shifts[:3], rope)
        stream, back_cross = self._cross_attention(stream, context)
        stream, back_feed = self._feed_forward(stream, shifts[3:])
        return stream, lambda gradient: back_self(back_cross(back_feed(gradient)))

    def _self_attention(
        self, stream: Values, shifts: Sequence[Values], rope: _Rope
    ) -> tuple[Values, Back]:
        shift, scale, gate = shifts
        normal, back_norm = layer_norm(stream)
        hidden = normal * (1.0 + scale) + shift
        queries, back_queries = self._heads("self_attn.q", hidden, norm="norm_q")
        keys, back_keys = self._heads("self_attn.k", hidden, norm="norm_k")
        values, back_values = self._heads("self_attn.v", hidden)
        queries, back_turned_queries = rotate(queries, *rope)
        keys, back_turned_keys = rotate(keys, *rope)
        joined, back_joined = attention(queries, keys, values)
        result, back_out = self._linear("self_attn.o", _merged(joined))

        def back(gradient: Values) -> Values:
            by_queries, by_keys, by_values = back_joined(_split(back_out(gradient * gate)))
            by_hidden = back_queries(back_turned_queries(by_queries))
            by_hidden = by_hidden + back_keys(back_turned_keys(by_keys)) + back_values(by_values)
            return gradient + back_norm(by_hidden * (1.0 + scale))

        return stream + result * gate, back

    def _cross_attention(self, stream: Values, context: Values) -> tuple[Values, Back]:
        normal, back_norm = layer_norm(stream)
        weight = self._frozen[f"{self._prefix}.norm3.weight"]
        hidden = normal * weight + self._frozen[f"{self._prefix}.norm3.bias"]
        queries, back_queries = self._heads("cross_attn.q", hidden, norm="norm_q")
        has_image = f"{self._prefix}.cross_attn.k_img" in self._adapted
        image = IMAGE_TOKENS if has_image else 0
        joined, back_joined = self._attend(queries, context[:, image:], "")
        backs = [back_joined]
        if has_image:
            of_image, back_joined = self._attend(queries, context[:, :image], "_img")
            joined = joined + of_image
            backs.append(back_joined)
        result, back_out = self._linear("cross_attn.o", _merged(joined))

        def back(gradient: Values) -> Values:
            by_joined = _split(back_out(gradient))
            by_queries = sum((back(by_joined) for back in backs), np.zeros_like(queries))
            return gradient + back_norm(back_queries(by_queries) * weight)

        return stream + result, back

    def _attend(self, queries: Values, context: Values, suffix: str) -> tuple[Values, Back]:
        """Return the attention to text or image tokens; `back` gives the gradient for `queries`."""
        keys, back_keys = self._heads(f"cross_attn.k{suffix}", context, norm=f"norm_k{suffix}")
        values, back_values = self._heads(f"cross_attn.v{suffix}", context)
        joined, back_joined = attention(queries, keys, values)

        def back(gradient: Values) -> Values:
            by_queries, by_keys, by_values = back_joined(gradient)
            back_keys(by_keys)
            back_values(by_values)
            return by_queries

        return joined, back

    def _feed_forward(self, stream: Values, shifts: Sequence[Values]) -> tuple[Values, Back]:
        shift, scale, gate = shifts
        normal, back_norm = layer_norm(stream)
        hidden, back_in = self._linear("ffn.0", normal * (1.0 + scale) + shift)
        hidden, back_gelu = gelu(hidden)
        result, back_out = self._linear("ffn.2", hidden)

        def back(gradient: Values) -> Values:
            by_normal = back_in(back_gelu(back_out(gradient * gate))) * (1.0 + scale)
            return gradient + back_norm(by_normal)

        return stream + result * gate, back

    def _heads(self, name: str, values: Values, *, norm: str | None = None) -> tuple[Values, Back]:
        """Apply a linear layer and, if named, a norm; return heads [b, h, s, d / h]."""
        result, back_linear = self._linear(name, values)
        if norm is None:
            return _split(result), lambda gradient: back_linear(_merged(gradient))
        weight = self._frozen[f"{self._prefix}.{name.partition('.')[0]}.{norm}.weight"]
        normal, back_norm = rms_norm(result)
        return (
            _split(normal * weight),
            lambda gradient: back_linear(back_norm(_merged(gradient) * weight)),
        )

    def _linear(self, name: str, values: Values) -> tuple[Values, Back]:
        return self._adapted(f"{self._prefix}.{name}", values)


def _split(values: Values) -> Values:
    """Split `values` [b, s, d] into heads [b, h, s, d / h]."""
    return values.reshape(*values.shape[:2], HEADS, _HEAD_WIDTH).swapaxes(1, 2)


def _merged(heads: Values) -> Values:
    """Join `heads` [b, h, s, d / h] to [b, s, d]."""
    return heads.swapaxes(1, 2).reshape(heads.shape[0], -1, WIDTH)


def _rope_table() -> tuple[Values, Values, Values]:
    """Return RoPE's angles [position, pair] for frames, rows and columns.

    As in Wan, each of the three axes has about a third of a head's pairs.
    """
    pairs = _HEAD_WIDTH // 2
    widths = (pairs - 2 * (pairs // 3), pairs // 3, pairs // 3)
    positions = np.arange(_ROPE_POSITIONS, dtype=np.float32)
    frames, rows, columns = (
        np.outer(positions, _ROPE_THETA ** (-np.arange(width, dtype=np.float32) / width))
        for width in widths
    )
    return frames, rows, columns
