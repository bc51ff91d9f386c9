"""Cheap, deterministic substitutes for Wan's VAE, CLIP and T5, with real tensor names and shapes.

A latent pixel stands for 8 x 8 pixels of four frames (of one frame, in the first latent frame). It
is a linear projection of twelve averages: the mean red, green and blue in each quarter of those
pixels. This encodes coarse colours and their positions, which is all that a rehearsal has to learn.
"""

import hashlib
import re
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.rehearsal import tensor_file
from training.rehearsal.model.shape import IMAGE_TOKENS, IMAGE_WIDTH, TEXT_WIDTH
from training.rehearsal.model.weights import VAE_KEY
from training.rehearsal.musubi_error import MusubiError
from training.rehearsal.tensor_file import Floats, Raw

Pixels = NDArray[np.uint8]  # [..., rows, columns, rgb]

_TEMPORAL_STRIDE = 4
_MASK_CHANNELS = 4
_CLIP_GRID = 16  # CLIP gives 16 x 16 tokens for patches and one for the whole image


class Encoder:
    """Turns clips into the tensors of a latent cache file.

    Args:
        vae: A substitute VAE, written by `weights.write_weights`.
        is_image_to_video: Whether the tensors include the first frame's latent and mask.
        with_clip: Whether the tensors include the first frame's CLIP tokens.
    """

    def __init__(self, vae: Path, *, is_image_to_video: bool, with_clip: bool) -> None:
        header = tensor_file.read_header(vae)
        if VAE_KEY not in header.tensors:
            raise MusubiError(
                "NotImplementedError: Cannot copy out of meta tensor; no data!",
                f"{vae} is not a rehearsal VAE: check --vae.",
            )
        self._projection = tensor_file.floats(header, VAE_KEY)
        self._is_image_to_video = is_image_to_video
        self._with_clip = with_clip

    def encode(self, frames: Pixels) -> dict[str, Raw]:
        """Return a clip's tensors under musubi's names, such as `latents_{F}x{H}x{W}_bfloat16`."""
        latents = self._project(frames)
        shape = "x".join(str(side) for side in latents.shape[1:])
        tensors = {f"latents_{shape}_bfloat16": tensor_file.encode(latents, "BF16")}
        if self._is_image_to_video:
            image = self._first_frame(frames, latents)
            tensors[f"latents_image_{shape}_bfloat16"] = tensor_file.encode(image, "BF16")
        if self._with_clip:
            # As in musubi's files: the name says bfloat16, but the values are float16.
            tensors["clip_bfloat16"] = tensor_file.encode(_clip_tokens(frames[0]), "F16")
        return tensors

    def _project(self, frames: Pixels) -> Floats:
        """Return latents [16, t, h, w] of frames [t', rows, columns, rgb]."""
        count, rows, columns, _ = frames.shape
        first, rest = frames[:1].astype(np.float32), frames[1:]
        groups = rest.reshape(count // _TEMPORAL_STRIDE, _TEMPORAL_STRIDE, rows, columns, 3)
        averages = _normalized(np.concatenate([first, groups.mean(axis=1, dtype=np.float32)]))
        quarters = averages.reshape(len(averages), rows // 2, 2, columns // 2, 2, 3)
        features = quarters.transpose(2, 4, 5, 0, 1, 3).reshape(len(self._projection[0]), -1)
        shape = (-1, len(averages), rows // 2, columns // 2)
        return (self._projection @ features).reshape(shape)

    def _first_frame(self, frames: Pixels, latents: Floats) -> Floats:
        """Return [20, t, h, w]: 4 mask channels and the first frame's latent, then zeros."""
        image = np.zeros((_MASK_CHANNELS + len(latents), *latents.shape[1:]), np.float32)
        image[:_MASK_CHANNELS, 0] = 1.0
        image[_MASK_CHANNELS:, :1] = self._project(frames[:1])
        return image


def _clip_tokens(frame: Pixels) -> Floats:
    """Return [257, 1280]: projected mean colours of the frame and of its 16 x 16 cells."""
    rows, columns = _edges(frame.shape[0]), _edges(frame.shape[1])
    values = _normalized(frame)
    # In a frame smaller than 16 x 16, some cells are empty: reduceat gives them a nearby pixel.
    sums = np.add.reduceat(np.add.reduceat(values, rows[:-1], axis=0), columns[:-1], axis=1)
    counts = np.maximum(np.diff(rows), 1)[:, None, None] * np.maximum(np.diff(columns), 1)[:, None]
    grid = (sums / counts).reshape(-1, 3)
    colours = np.concatenate([grid.mean(axis=0, keepdims=True), grid]).astype(np.float32)
    return colours @ _clip_projection() + _clip_positions()


def _normalized(pixels: Pixels | Floats) -> Floats:
    """Map pixels from 0..255 to -1..1."""
    return (pixels / np.float32(127.5) - np.float32(1.0)).astype(np.float32)


def _edges(side: int) -> NDArray[np.int64]:
    return np.linspace(0, side, _CLIP_GRID + 1).astype(np.int64)


@cache
def _clip_projection() -> Floats:
    return np.random.Generator(np.random.PCG64(1)).standard_normal((3, IMAGE_WIDTH), np.float32)


@cache
def _clip_positions() -> Floats:
    random = np.random.Generator(np.random.PCG64(2))
    return random.standard_normal((IMAGE_TOKENS, IMAGE_WIDTH), np.float32)


_MAX_TOKENS = 512  # Wan reads at most this many tokens of a caption
TEXT_KEY = "varlen_t5_bfloat16"

_END = "</s>"
_TOKEN = re.compile(r"\w+|[^\w\s]")


def encode_caption(caption: str) -> dict[str, Raw]:
    """Return the tensors of a text cache file: `varlen_t5_bfloat16` [tokens, 4096]."""
    words = _TOKEN.findall(caption.casefold())[: _MAX_TOKENS - 1]
    tokens = np.stack([_vector(word) for word in (*words, _END)])
    return {TEXT_KEY: tensor_file.encode(tokens, "BF16")}


@lru_cache(maxsize=4096)
def _vector(word: str) -> Floats:
    seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:16], "big")
    return np.random.Generator(np.random.PCG64(seed)).standard_normal(TEXT_WIDTH, np.float32)
