"""Writes small deterministic stand-ins for the published weights, without torch."""

import hashlib
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np

from training.files.atomic import atomic_file
from training.rehearsal import tensor_file
from training.rehearsal.model.shape import (
    LATENT_CHANNELS,
    PATCH_AREA,
    WIDTH,
    InChannels,
    adapter_modules,
    module_widths,
    tensor_shapes,
)
from training.rehearsal.tensor_file import DType, Floats, Raw

Role = Literal["dit", "vae", "t5", "clip", "speed_lora"]
WeightDType = Literal["bf16", "fp16", "fp32"]

VAE_KEY = "encoder.conv1.weight"
VAE_FEATURES = 12

SPEED_LORA_RANK = 8
_SPEED_LORA_STRENGTH = 0.02

_SIGNAL_WIDTH = PATCH_AREA * LATENT_CHANNELS
# The stream's other dimensions hold a constant several times the signal's size. The layer norms
# then divide by nearly the same number for every input, and the tiny model stays close to linear.
_ANCHOR = 3.0
_STREAM_SCALE = float(np.sqrt((_SIGNAL_WIDTH + (WIDTH - _SIGNAL_WIDTH) * _ANCHOR**2) / WIDTH))
# The base model's velocities are off by this much (root mean square, in units of the noise), as
# if trained on other footage. An adapter can learn this from any dataset.
BASE_ERROR = 1.5

_DTYPES: dict[WeightDType, DType] = {"bf16": "BF16", "fp16": "F16", "fp32": "F32"}
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)  # the earliest date in a zip


def write_weights(
    target: Path,
    *,
    role: Role,
    seed: str,
    in_channels: InChannels = 16,
    clip: bool = False,
    dtype: WeightDType = "bf16",
) -> None:
    """Write a stand-in; equal arguments give equal bytes.

    Args:
        target: The file to write, in an existing directory.
        role: What the file stands in for. `dit`, `vae` and `speed_lora` are safetensors,
            whatever the suffix; `t5` and `clip` are files for `torch.load`.
        seed: Determines all values.
        in_channels: For a `dit`: 16 for text to video, 36 for image to video.
        clip: For a `dit` or `speed_lora`: with CLIP image tokens (Wan 2.1 image to video).
        dtype: For a `dit` or `vae`. A speed LoRA is float32, like the published ones.
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
            _write_torch_file(target, {"rehearsal": role, "seed": seed})
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
# Blocks add little to the residual stream, as in a trained model, so the output velocity is the
# input noise until an adapter changes it.
_GAINS = {".o": 0.2, ".ffn.2": 0.2, "time_embedding.2": 0.1, "time_projection.1": 3.0}


def _modulation(random: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    values = random.standard_normal(shape) * 0.02
    if shape[1] == 6:
        values[:, [2, 5]] += 1.0  # open the gates of attention and feed-forward
    return values.astype(np.float32)


def _signal_basis(seed: str) -> Floats:
    """Return an orthogonal [signal, (c, h, w) of a patch]; its +-1/8 are exact in bf16."""
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
    # The head's outputs are ordered (h, w, c), the patch embedding's inputs (c, h, w).
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
    """Return [latent channels, features] with orthonormal columns, times 2.

    Twelve features of pixels in -1..1 then give latents of about unit variance a channel.
    """
    random = _random(seed, "vae")
    columns, _ = np.linalg.qr(random.standard_normal((LATENT_CHANNELS, VAE_FEATURES)))
    return (2.0 * columns).astype(np.float32)


def _speed_lora(seed: str, *, clip: bool) -> dict[str, Raw]:
    tensors: dict[str, Raw] = {}
    for module in adapter_modules(clip=clip):
        random = _random(seed, module)
        inputs, outputs = module_widths(module)
        down = random.standard_normal((SPEED_LORA_RANK, inputs)) / np.sqrt(inputs)
        up = random.standard_normal((outputs, SPEED_LORA_RANK)) * _SPEED_LORA_STRENGTH
        prefix = f"diffusion_model.{module}"
        tensors[f"{prefix}.lora_down.weight"] = tensor_file.encode(down.astype(np.float32), "F32")
        tensors[f"{prefix}.lora_up.weight"] = tensor_file.encode(up.astype(np.float32), "F32")
        alpha = np.array(SPEED_LORA_RANK, np.float32)
        tensors[f"{prefix}.alpha"] = tensor_file.encode(alpha, "I64")
    return tensors


def _write_torch_file(target: Path, content: dict[str, str]) -> None:
    # The container format of torch.save, for content without tensors.
    members = {
        "data.pkl": pickle.dumps(content, protocol=2),
        "byteorder": b"little",
        "version": b"3\n",
    }
    with atomic_file(target) as stream, zipfile.ZipFile(stream, "w") as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(f"archive/{name}", _ZIP_DATE), data)
