"""A tiny Wan transformer: Wan's modules and tensor names, with a few narrow blocks.

Shapes: b batch, s tokens, p values of a patch, d width, l context tokens, h heads.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from training.rehearsal.model.adapter import Adapter
from training.rehearsal.model.shape import (
    BLOCKS,
    HEADS,
    IMAGE_TOKENS,
    KEY_PREFIX,
    TIME_WIDTH,
    WIDTH,
)
from training.rehearsal.tensor_file import floats, read_header

_HEAD_WIDTH = WIDTH // HEADS
_ROPE_POSITIONS = 1024
_ROPE_THETA = 10_000.0
_EPSILON = 1e-6


class TinyWan:
    """A frozen base model, differentiable with respect to an adapter."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        self._weights = weights
        patch = self._weights["patch_embedding.weight"]
        self._patch = patch.reshape(patch.shape[0], -1)
        self._rope = _rope_table()

    @classmethod
    def load(cls, path: Path) -> "TinyWan":
        """Return the model of a checked file (`loop.checks.check_files`)."""
        header = read_header(path)
        weights = {
            name.removeprefix(KEY_PREFIX): torch.from_numpy(floats(header, name))
            for name in header.tensors
        }
        return cls(weights)

    @torch.no_grad()
    def embed_context(self, text: Tensor, image: Tensor | None) -> Tensor:
        """Return the context [1, l, d] of text [tokens, 4096] and CLIP image [257, 1280] tokens."""
        hidden = F.gelu(self._linear("text_embedding.0", text), approximate="tanh")
        context = self._linear("text_embedding.2", hidden)
        if image is not None:
            context = torch.cat([self._embed_image(image), context])
        return context[None]

    def _embed_image(self, image: Tensor) -> Tensor:
        hidden = self._norm("img_emb.proj.0", image)
        hidden = self._linear("img_emb.proj.3", F.gelu(self._linear("img_emb.proj.1", hidden)))
        return self._norm("img_emb.proj.4", hidden)

    def __call__(
        self,
        patches: Tensor,
        positions: Tensor,
        timesteps: Tensor,
        context: Tensor,
        adapter: Adapter,
    ) -> Tensor:
        """Return the predicted velocity [b, s, (h, w, c) of a patch].

        Args:
            patches: Noisy latents and their conditioning, [b, s, (c, h, w) of a patch].
            positions: Frame, row and column of each token, integers [b, s, 3].
            timesteps: 0 to 1000, [b].
            context: Embedded text (and image) tokens, [b, l, d].
            adapter: Supplies the weights of the trained modules.
        """
        time, modulation = self._embed_time(timesteps)
        angles = torch.cat([self._rope[axis][positions[..., axis]] for axis in range(3)], dim=-1)
        rope = torch.cos(angles)[:, None], torch.sin(angles)[:, None]
        stream = F.linear(patches, self._patch, self._weights["patch_embedding.bias"])
        weights = adapter.adapt(self._weights)
        for block in range(BLOCKS):
            stream = _Block(f"blocks.{block}", self._weights, weights)(
                stream, modulation, context, rope
            )
        shift, scale = (self._weights["head.modulation"] + time[:, None]).chunk(2, dim=1)
        return self._linear("head.head", _layer_norm(stream) * (1 + scale) + shift)

    @torch.no_grad()
    def _embed_time(self, timesteps: Tensor) -> tuple[Tensor, Tensor]:
        half = TIME_WIDTH // 2
        rates = _ROPE_THETA ** (-torch.arange(half) / half)
        angles = timesteps[:, None] * rates
        wave = torch.cat([torch.cos(angles), torch.sin(angles)], dim=1)
        hidden = F.silu(self._linear("time_embedding.0", wave))
        time = self._linear("time_embedding.2", hidden)
        modulation = self._linear("time_projection.1", F.silu(time))
        return time, modulation.view(-1, 6, WIDTH)

    def _linear(self, name: str, values: Tensor) -> Tensor:
        return F.linear(values, self._weights[f"{name}.weight"], self._weights[f"{name}.bias"])

    def _norm(self, name: str, values: Tensor) -> Tensor:
        weight, bias = self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]
        return F.layer_norm(values, weight.shape, weight, bias, _EPSILON)


class _Block:
    """One block; `adapted` are the weights that the adapter changes, `frozen` the others."""

    def __init__(
        self, prefix: str, frozen: Mapping[str, Tensor], adapted: Mapping[str, Tensor]
    ) -> None:
        self._prefix, self._frozen, self._adapted = prefix, frozen, adapted

    def __call__(
        self, stream: Tensor, modulation: Tensor, context: Tensor, rope: tuple[Tensor, Tensor]
    ) -> Tensor:
        shifts = (self._frozen[f"{self._prefix}.modulation"] + modulation).chunk(6, dim=1)
        hidden = _layer_norm(stream) * (1 + shifts[1]) + shifts[0]
        stream = stream + self._self_attention(hidden, rope) * shifts[2]
        stream = stream + self._cross_attention(stream, context)
        hidden = _layer_norm(stream) * (1 + shifts[4]) + shifts[3]
        hidden = F.gelu(self._linear("ffn.0", hidden), approximate="tanh")
        return stream + self._linear("ffn.2", hidden) * shifts[5]

    def _self_attention(self, hidden: Tensor, rope: tuple[Tensor, Tensor]) -> Tensor:
        queries = _rotate(self._heads("self_attn.q", hidden, norm="norm_q"), rope)
        keys = _rotate(self._heads("self_attn.k", hidden, norm="norm_k"), rope)
        return self._attend("self_attn", queries, keys, self._heads("self_attn.v", hidden))

    def _cross_attention(self, stream: Tensor, context: Tensor) -> Tensor:
        name = f"{self._prefix}.norm3"
        weight, bias = self._frozen[f"{name}.weight"], self._frozen[f"{name}.bias"]
        hidden = F.layer_norm(stream, (WIDTH,), weight, bias, _EPSILON)
        queries = self._heads("cross_attn.q", hidden, norm="norm_q")
        if f"{self._prefix}.cross_attn.k_img.weight" not in self._adapted:
            keys = self._heads("cross_attn.k", context, norm="norm_k")
            values = self._heads("cross_attn.v", context)
            return self._attend("cross_attn", queries, keys, values)
        image, text = context[:, :IMAGE_TOKENS], context[:, IMAGE_TOKENS:]
        keys = self._heads("cross_attn.k", text, norm="norm_k")
        of_text = _attention(queries, keys, self._heads("cross_attn.v", text))
        keys = self._heads("cross_attn.k_img", image, norm="norm_k_img")
        of_image = _attention(queries, keys, self._heads("cross_attn.v_img", image))
        return self._linear("cross_attn.o", of_text + of_image)

    def _attend(self, part: str, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        return self._linear(f"{part}.o", _attention(queries, keys, values))

    def _heads(self, name: str, hidden: Tensor, *, norm: str | None = None) -> Tensor:
        values = self._linear(name, hidden)
        if norm is not None:
            part = name.partition(".")[0]
            weight = self._frozen[f"{self._prefix}.{part}.{norm}.weight"]
            values = F.rms_norm(values, (WIDTH,), weight, _EPSILON)
        return values.view(*values.shape[:2], HEADS, _HEAD_WIDTH).transpose(1, 2)

    def _linear(self, name: str, values: Tensor) -> Tensor:
        full = f"{self._prefix}.{name}"
        return F.linear(values, self._adapted[f"{full}.weight"], self._frozen[f"{full}.bias"])


def _attention(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    joined = F.scaled_dot_product_attention(queries, keys, values)
    return joined.transpose(1, 2).flatten(2)


def _layer_norm(stream: Tensor) -> Tensor:
    return F.layer_norm(stream, (WIDTH,), eps=_EPSILON)


def _rotate(values: Tensor, rope: tuple[Tensor, Tensor]) -> Tensor:
    cosine, sine = rope
    even, odd = values.reshape(*values.shape[:-1], -1, 2).unbind(-1)
    turned = torch.stack([even * cosine - odd * sine, even * sine + odd * cosine], dim=-1)
    return turned.flatten(-2)


def _rope_table() -> tuple[Tensor, Tensor, Tensor]:
    """Return the angles [position, pair] of the three axes, split over a head as in Wan."""
    pairs = _HEAD_WIDTH // 2
    widths = (pairs - 2 * (pairs // 3), pairs // 3, pairs // 3)
    positions = torch.arange(_ROPE_POSITIONS)
    frames, rows, columns = (
        torch.outer(positions, _ROPE_THETA ** (-torch.arange(width) / width)) for width in widths
    )
    return frames, rows, columns
