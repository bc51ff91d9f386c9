"""Reads and atomically writes safetensors files whose bytes depend only on their content.

The library's own writer orders the metadata at random, so equal runs would differ.
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


@dataclass(frozen=True, slots=True)
class Raw:
    """One tensor as stored in a file."""

    dtype: DType
    shape: tuple[int, ...]
    data: bytes


def encode(values: Floats, dtype: DType) -> Raw:
    """Return `values` in `dtype`; bf16 rounds half to even."""
    shape = tuple(values.shape)
    if dtype == "F32":
        return Raw(dtype, shape, values.astype("<f4").tobytes())
    if dtype == "F16":
        return Raw(dtype, shape, values.astype("<f2").tobytes())
    if dtype == "I64":
        return Raw(dtype, shape, values.astype("<i8").tobytes())
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    rounded = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    return Raw(dtype, shape, (rounded >> np.uint32(16)).astype("<u2").tobytes())


def serialize(tensors: Mapping[str, Raw], metadata: Mapping[str, str]) -> list[bytes]:
    """Return the file's parts: the header, then the tensors sorted by name."""
    ordered = sorted(tensors.items())
    described = ((name, raw.dtype, raw.shape, len(raw.data)) for name, raw in ordered)
    return [header_bytes(described, metadata), *(raw.data for _, raw in ordered)]


def write(path: Path, tensors: Mapping[str, Raw], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file that appears under its name only when complete.

    Raises:
        OSError: The disk is full or not writable; what was there before is unchanged.
    """
    with atomic_file(path) as stream:
        for part in serialize(tensors, metadata):
            stream.write(part)


def read_header(path: Path) -> TensorHeader:
    """Return the header of a safetensors file.

    Raises:
        MusubiError: The file is missing or truncated, in musubi's words.
    """
    try:
        return safetensors_header.read_header(path)
    except FileNotFoundError as error:
        raise MusubiError(
            f"FileNotFoundError: [Errno 2] No such file or directory: '{path}'",
            "Check that the file was fetched or cached.",
        ) from error
    except ValueError as error:
        raise MusubiError(
            "safetensors_rust.SafetensorError: Error while deserializing header: "
            "MetadataIncompleteBuffer",
            f"{path} is truncated or not a safetensors file: fetch or cache it again.",
        ) from error


def read_floats(path: Path, name: str) -> Floats:
    """Return one tensor of a file as float32."""
    return floats(read_header(path), name)


def floats(header: TensorHeader, name: str) -> Floats:
    """Return a tensor of a file as float32, given its header.

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
    """Return bf16 values, given as their 16 bits, as float32."""
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)
