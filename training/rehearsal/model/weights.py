"""Writes small deterministic substitutes for the published weights."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np

from training.rehearsal import tensor_file
from training.rehearsal.model.shape import (
    LATENT_CHANNELS,
    PATCH_AREA,
    WIDTH,
    InChannels,
    adapter_widths,
    tensor_shapes,
)
from training.rehearsal.tensor_file import DType, Floats, Raw
from training.rehearsal.torch_file import write_torch_file

Role = Literal["dit", "vae", "t5", "clip", "speed_lora"]
WeightDType = Literal["bf16", "fp16", "fp32"]

VAE_KEY = "encoder.conv1.weight"
VAE_FEATURES = 12

SPEED_LORA_RANK = 8
_SPEED_LORA_STRENGTH = 0.02

_SIGNAL_WIDTH = PATCH_AREA * LATENT_CHANNELS
# Only the first dimensions of the residual stream carry the signal. The others hold this constant,
# several times the signal's size: layer norms then divide every input by nearly the same number,
# which keeps the tiny model almost linear.
_ANCHOR = 3.0
_STREAM_SCALE = float(np.sqrt((_SIGNAL_WIDTH + (WIDTH - _SIGNAL_WIDTH) * _ANCHOR**2) / WIDTH))
# The base model's velocities are wrong by this much on purpose (root mean square, compared with 1
# for the noise), so that an adapter has something to learn: it can correct the error with any
# dataset.
BASE_ERROR = 1.5

_DTYPES: dict[WeightDType, DType] = {"bf16": "BF16", "fp16": "F16", "fp32": "F32"}


def write_weights(
    target: Path,
    *,
    role: Role,
    seed: str,
    in_channels: InChannels = 16,
    clip: bool = False,
    dtype: WeightDType = "bf16",
) -> None:
    """Write a substitute for a weight file; equal arguments give equal bytes.

    Args:
        target: The file to write, in an existing directory.
        role: The kind of file to replace. For `dit`, `vae` and `speed_lora` the format is
            safetensors, whatever the suffix; for `t5` and `clip` it is that of `torch.save`.
        seed: Determines all values.
        in_channels: For a `dit`: 16 for text to video, 36 for image to video.
        clip: For a `dit` or `speed_lora`: whether the model reads CLIP tokens, as Wan 2.1 image to
            video does.
        dtype: For a `dit` or `vae`: the type of its tensors. A speed LoRA is float32, like the
            published speed LoRAs.
    """
    metadata = {"format": "pt", "rehearsal": role}
    match role:
        case "dit":
            tensors = _dit(seed, in_channels, clip=clip, dtype=_DTYPES[dtype])
        case "vae":
            tensors = {VAE_KEY: tensor_file.encode(_vae_projection(seed), _DTYPES[dtype])}
        case "speed_lora":
            tensors = _speed_lora(seed, clip=clip)
        case "t5" | "clip":
            write_torch_file(target, {"rehearsal": role, "seed": seed})
            return
    tensor_file.write(target, tensors, metadata)


def _random(seed: str, name: str) -> np.random.Generator:
    digest = hashlib.sha256(f"{seed}\0{name}".encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest, "big")))


def _dit(seed: str, in_channels: InChannels, *, clip: bool, dtype: DType) -> dict[str, Raw]:
    tensors: dict[str, Raw] = {}
    basis = _signal_basis(seed)
    for name, shape in tensor_shapes(in_channels, clip=clip).items():
        make = _SPECIAL.get(name)
        random = _random(seed, name)
        values = make(random, shape, basis) if make else _plain(name, random, shape)
        tensors[name] = tensor_file.encode(values.astype(np.float32), dtype)
    return tensors


def _plain(name: str, random: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    module, _, leaf = name.rpartition(".")
    if module.rpartition(".")[2].startswith("norm") or module in _IMAGE_NORMS:
        return np.full(shape, 0.0 if leaf == "bias" else 1.0, np.float32)
    if leaf == "bias":
        return np.zeros(shape, np.float32)
    if leaf == "modulation":
        return _modulation(random, shape)
    gain = next((gain for ending, gain in _GAINS.items() if module.endswith(ending)), 1.0)
    return (random.standard_normal(shape) * (gain / np.sqrt(shape[1]))).astype(np.float32)


_IMAGE_NORMS = ("img_emb.proj.0", "img_emb.proj.4")
# Scale of the random weights, keyed by the end of a layer's name; 1 for other layers. The last
# layers of attention and feed-forward have small weights, so that without an adapter, the model's
# output is close to its input.
_GAINS = {".o": 0.2, ".ffn.2": 0.2, "time_embedding.2": 0.1, "time_projection.1": 3.0}


def _modulation(random: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    values = random.standard_normal(shape) * 0.02
    if shape[1] == 6:
        values[:, [2, 5]] += 1.0  # gates of attention and feed-forward; 0 would close them
    return values.astype(np.float32)


def _signal_basis(seed: str) -> Floats:
    """Return an orthogonal matrix from patches (c, h, w) to the signal's dimensions.

    Its elements are 1/8 and -1/8, which bf16 stores exactly.
    """
    random = _random(seed, "basis")
    matrix = np.ones((1, 1), np.float32)
    while len(matrix) < _SIGNAL_WIDTH:
        matrix = np.block([[matrix, matrix], [matrix, -matrix]]).astype(np.float32)
    signs = random.choice(np.array([-1.0, 1.0], np.float32), _SIGNAL_WIDTH)
    basis = random.permutation(matrix) * signs / np.sqrt(_SIGNAL_WIDTH)
    return basis.astype(np.float32)


def _patch_weight(random: np.random.Generator, shape: tuple[int, ...], basis: Floats) -> Floats:
    values = np.zeros((WIDTH, shape[1] * PATCH_AREA), np.float32)
    values[:_SIGNAL_WIDTH, :_SIGNAL_WIDTH] = basis
    extra = values.shape[1] - _SIGNAL_WIDTH
    noise = random.standard_normal((WIDTH - _SIGNAL_WIDTH, extra))
    values[_SIGNAL_WIDTH:, _SIGNAL_WIDTH:] = noise / np.sqrt(max(extra, 1))
    return values.reshape(shape)


def _patch_bias(random: np.random.Generator, shape: tuple[int, ...], basis: Floats) -> Floats:
    del random, basis
    values = np.zeros(shape, np.float32)
    values[_SIGNAL_WIDTH:] = _ANCHOR
    values[_SIGNAL_WIDTH::2] *= -1
    return values


def _head_weight(random: np.random.Generator, shape: tuple[int, ...], basis: Floats) -> Floats:
    del random
    values = np.zeros(shape, np.float32)
    # The head orders its outputs (h, w, c), but the patch embedding orders its inputs (c, h, w).
    patch = basis.reshape(_SIGNAL_WIDTH, LATENT_CHANNELS, PATCH_AREA).transpose(2, 1, 0)
    values[:, :_SIGNAL_WIDTH] = _STREAM_SCALE * patch.reshape(_SIGNAL_WIDTH, _SIGNAL_WIDTH)
    return values


def _head_bias(random: np.random.Generator, shape: tuple[int, ...], basis: Floats) -> Floats:
    del basis
    offset = random.standard_normal(LATENT_CHANNELS)
    offset *= BASE_ERROR / np.sqrt(np.mean(offset**2))
    return np.tile(offset, shape[0] // LATENT_CHANNELS).astype(np.float32)


_Make = Callable[[np.random.Generator, tuple[int, ...], Floats], Floats]
_SPECIAL: dict[str, _Make] = {
    "patch_embedding.weight": _patch_weight,
    "patch_embedding.bias": _patch_bias,
    "head.head.weight": _head_weight,
    "head.head.bias": _head_bias,
}


def _vae_projection(seed: str) -> Floats:
    """Return the substitute VAE: a matrix [16 channels, 12 features].

    Its columns are orthogonal and have the length 2, so that features between -1 and 1 give latents
    of about unit variance.
    """
    random = _random(seed, "vae")
    columns, _ = np.linalg.qr(random.standard_normal((LATENT_CHANNELS, VAE_FEATURES)))
    return (2.0 * columns).astype(np.float32)


def _speed_lora(seed: str, *, clip: bool) -> dict[str, Raw]:
    tensors: dict[str, Raw] = {}
    for module, (inputs, outputs) in adapter_widths(clip=clip).items():
        random = _random(seed, module)
        down = random.standard_normal((SPEED_LORA_RANK, inputs)) / np.sqrt(inputs)
        up = random.standard_normal((outputs, SPEED_LORA_RANK)) * _SPEED_LORA_STRENGTH
        prefix = f"diffusion_model.{module}"
        tensors[f"{prefix}.lora_down.weight"] = tensor_file.encode(down.astype(np.float32), "F32")
        tensors[f"{prefix}.lora_up.weight"] = tensor_file.encode(up.astype(np.float32), "F32")
        alpha = np.array(SPEED_LORA_RANK, np.float32)
        tensors[f"{prefix}.alpha"] = tensor_file.encode(alpha, "I64")
    return tensors
