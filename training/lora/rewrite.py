"""Copies a LoRA file with new metadata or tensor names; the bytes of matrices stay the same."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from training.files.atomic import atomic_file
from training.files.safetensors_header import TensorHeader, header_bytes
from training.lora.contents import Contents
from training.lora.keys import MUSUBI_PREFIX, KeyPart

_BLOCK_BYTES = 1 << 20


def with_metadata(header: TensorHeader, metadata: Mapping[str, str], target: Path) -> None:
    """Copy the file of `header` to `target` with new metadata.

    `target` may be the same file. The hashes in the metadata (`sshs_model_hash`,
    `sshs_legacy_hash`) cover only the tensors and the `ss_` entries, so they stay valid if the
    `ss_` entries do not change.

    Raises:
        OSError: The disk is full or not writable; an existing target is unchanged.
    """
    ordered = sorted(header.tensors.items(), key=lambda item: item[1].start)
    pieces = [_Piece(name, e.dtype, e.shape, (e.start, e.end)) for name, e in ordered]
    _write(header.path, target, pieces, metadata)


def as_musubi_names(contents: Contents, target: Path) -> None:
    """Write a LoRA to `target` with musubi's tensor names and exactly the same effect.

    The matrices are copied unchanged. A module without an alpha gets the declared alpha, or else
    its rank (a scale of 1). An integer alpha is stored as float32.
    """
    header = contents.header
    pieces: list[_Piece] = []
    for name, module in contents.modules.items():
        for part in (KeyPart.DOWN, KeyPart.UP, KeyPart.ALPHA):
            entry = header.tensors.get(module.keys.get(part, ""))
            new_name = f"{MUSUBI_PREFIX}{name}.{part}"
            if entry is None or entry.dtype.startswith("I"):
                value = contents.alpha_of(module)
                pieces.append(_Piece(new_name, "F32", (), np.array(value, "<f4").tobytes()))
            else:
                span = (entry.start, entry.end)
                pieces.append(_Piece(new_name, entry.dtype, entry.shape, span))
    _write(header.path, target, pieces, header.metadata)


@dataclass(frozen=True, slots=True)
class _Piece:
    """One tensor to write; `data` is its byte range in the source, or the bytes themselves."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    data: tuple[int, int] | bytes

    @property
    def size(self) -> int:
        return len(self.data) if isinstance(self.data, bytes) else self.data[1] - self.data[0]


def _write(source: Path, target: Path, pieces: list[_Piece], metadata: Mapping[str, str]) -> None:
    described = ((piece.name, piece.dtype, piece.shape, piece.size) for piece in pieces)
    with source.open("rb") as old, atomic_file(target) as new:
        new.write(header_bytes(described, metadata))
        for piece in pieces:
            if isinstance(piece.data, bytes):
                new.write(piece.data)
            else:
                _copy(old, new, *piece.data)


def _copy(old: BinaryIO, new: BinaryIO, start: int, end: int) -> None:
    old.seek(start)
    while start < end:
        block = old.read(min(_BLOCK_BYTES, end - start))
        if not block:
            raise OSError(f"{old.name} shrank while being read")
        new.write(block)
        start += len(block)
