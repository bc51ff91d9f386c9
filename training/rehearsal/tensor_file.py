"""Reads safetensors files, and writes them atomically and reproducibly.

The safetensors library writes metadata in random order, so equal runs would give different files.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from training.files import safetensors_header
from training.files.atomic import atomic_file
from training.files.safetensors_header import TensorHeader, header_bytes
from training.rehearsal.musubi_error import MusubiError

DType = Literal["BF16", "F16", "F32", "I64"]
Floats = NDArray[np.float32]

_READABLE = ("BF16", "F16", "F32", "I64")
_NUMPY_TYPES = {"F16": "<f2", "F32": "<f4", "I64": "<i8"}


@dataclass(frozen=True, slots=True)
class Raw:
    """A tensor as it is stored in a file: dtype, shape and bytes."""

    dtype: DType
    shape: tuple[int, ...]
    data: bytes


def encode(values: Floats, dtype: DType) -> Raw:
    """Convert `values` to `dtype`; bf16 rounds to nearest, ties to even."""
    shape = tuple(values.shape)
    if dtype != "BF16":
        return Raw(dtype, shape, values.astype(_NUMPY_TYPES[dtype]).tobytes())
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    rounded = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    return Raw(dtype, shape, (rounded >> np.uint32(16)).astype("<u2").tobytes())


def serialize(tensors: Mapping[str, Raw], metadata: Mapping[str, str]) -> list[bytes]:
    """Return the file's parts: the header, then the tensors sorted by name."""
    ordered = sorted(tensors.items())
    described = ((name, raw.dtype, raw.shape, len(raw.data)) for name, raw in ordered)
    return [header_bytes(described, metadata), *(raw.data for _, raw in ordered)]


def write(path: Path, tensors: Mapping[str, Raw], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file, which appears at `path` only when it is complete.

    Raises:
        OSError: The disk is full or not writable; an existing file is unchanged.
    """
    with atomic_file(path) as stream:
        for part in serialize(tensors, metadata):
            stream.write(part)


def read_header(path: Path) -> TensorHeader:
    """Return the header of a safetensors file.

    Raises:
        MusubiError: The file is missing or truncated; the message is musubi's.
    """
    try:
        return safetensors_header.read_header(path)
    except FileNotFoundError as error:
        raise MusubiError(
            f"FileNotFoundError: [Errno 2] No such file or directory: '{path}'",
            "Check that the file was downloaded or cached.",
        ) from error
    except ValueError as error:
        raise MusubiError(
            "safetensors_rust.SafetensorError: Error while deserializing header: "
            "MetadataIncompleteBuffer",
            f"{path} is truncated or is not a safetensors file: download or cache it again.",
        ) from error


def floats(header: TensorHeader, name: str) -> Floats:
    """Read a tensor from the file of `header`, as float32.

    Raises:
        MusubiError: The tensor has an unsupported dtype.
    """
    dtype = header.tensors[name].dtype
    if dtype not in _READABLE:
        raise MusubiError(
            f"ValueError: The rehearsal cannot read tensors of type {dtype}",
            "Use a bf16, fp16 or fp32 file.",
        )
    return header.read(name).astype(np.float32)


def widen(bits: NDArray[np.uint16]) -> Floats:
    """Convert bf16 values, given as their bits in uint16, to float32."""
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)
