"""Rewriting a safetensors file with new metadata or names, and the same tensor bytes."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from training.files.atomic import atomic_file
from training.files.safetensors_header import TensorHeader, header_bytes
from training.lora.contents import ALPHA, MUSUBI_PREFIX, Contents

_BLOCK_BYTES = 1 << 20


def with_metadata(header: TensorHeader, metadata: Mapping[str, str], target: Path) -> None:
    """Copy the file of `header` to `target` with this metadata; `target` may be the same file.

    The hashes in the metadata (`sshs_model_hash`, `sshs_legacy_hash`) stay valid, because they
    cover only the tensors and the `ss_` entries.

    Raises:
        OSError: The disk is full or not writable; an existing file is unchanged.
    """
    ordered = sorted(header.tensors.items(), key=lambda item: item[1].start)
    pieces = [_Piece(name, e.dtype, e.shape, (e.start, e.end)) for name, e in ordered]
    _write(header.path, target, pieces, metadata)


def as_musubi_names(contents: Contents, target: Path) -> None:
    """Write a LoRA to `target` under musubi's names, with exactly the same effect.

    The matrices are copied unchanged. A missing alpha means a scale of 1 and is added as the rank;
    an integer alpha is stored as float32.
    """
    header = contents.header
    pieces: list[_Piece] = []
    for name, module in contents.modules.items():
        keys = {**module.keys, ALPHA: module.keys.get(ALPHA, "")}
        for part, key in keys.items():
            entry = header.tensors.get(key)
            new_name = f"{MUSUBI_PREFIX}{name}.{part}"
            if entry is None or entry.dtype.startswith("I"):
                value = module.rank if entry is None else contents.values(key).item()
                pieces.append(_Piece(new_name, "F32", (), np.array(value, "<f4").tobytes()))
            else:
                span = (entry.start, entry.end)
                pieces.append(_Piece(new_name, entry.dtype, entry.shape, span))
    _write(header.path, target, pieces, header.metadata)


@dataclass(frozen=True, slots=True)
class _Piece:
    """One tensor to write: its byte range in the source, or its bytes."""

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
            raise OSError(f"{old.name} became shorter while it was read")
        new.write(block)
        start += len(block)
