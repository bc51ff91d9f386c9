"""A safetensors file with another header: other metadata, other names, the same tensor bytes."""

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
    """Write the file of `header` to `target` with this metadata; `target` may be the file itself.

    The tensors are copied as they lie. Their hashes in the metadata (`sshs_model_hash`,
    `sshs_legacy_hash`) stay right: they are taken of the tensors and of the `ss_` entries.

    Raises:
        OSError: The disk is full or not writable; what was there before is unchanged.
    """
    ordered = sorted(header.tensors.items(), key=lambda item: item[1].start)
    pieces = [_Piece(name, e.dtype, e.shape, (e.start, e.end)) for name, e in ordered]
    _write(header.path, target, pieces, metadata)


def as_musubi_names(contents: Contents, target: Path) -> None:
    """Write a LoRA to `target` under musubi's names; the same change of every weight, exactly.

    The matrices are copied as they lie. An alpha that is missing means the scale 1 and is added as
    the rank; one that is stored as an integer is stored as float32 instead.
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
    """One tensor to write: where it lies in the source, or its bytes."""

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
