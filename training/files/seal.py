"""Stores a checksum in safetensors files, because the format itself cannot detect damage.

This module imports only the standard library, because it also runs in musubi-tuner's environment.
"""

import json
import shutil
import zlib
from pathlib import Path
from typing import Any, BinaryIO

from training.files.atomic import atomic_file
from training.files.safetensors_format import LENGTH_BYTES, METADATA, packed

SEAL = "lorabot.crc32"
_BLOCK_BYTES = 1 << 20


def seal(path: Path) -> None:
    """Add a checksum of a complete file's content to its header.

    The file is replaced, so no other process may be using it yet.
    """
    with atomic_file(path, durable=False) as sealed, path.open("rb") as file:
        header = _read_header(file)
        data_at = file.tell()
        metadata = {**_metadata(header), SEAL: _checksum(header, file)}
        file.seek(data_at)
        sealed.write(packed(metadata, _tensors(header)))
        shutil.copyfileobj(file, sealed, _BLOCK_BYTES)


def is_as_sealed(path: Path) -> bool:
    """Return whether a complete file still matches its checksum; True if it has none."""
    with path.open("rb") as file:
        header = _read_header(file)
        given = _metadata(header).get(SEAL)
        return given is None or given == _checksum(header, file)


def _read_header(file: BinaryIO) -> dict[str, Any]:
    return json.loads(file.read(int.from_bytes(file.read(LENGTH_BYTES), "little")))


def _metadata(header: dict[str, Any]) -> dict[str, str]:
    return header.get(METADATA) or {}  # the format allows null


def _tensors(header: dict[str, Any]) -> dict[str, Any]:
    return {name: tensor for name, tensor in header.items() if name != METADATA}


def _checksum(header: dict[str, Any], data: BinaryIO) -> str:
    """Return the CRC-32, in hex, of the tensor data and the header without its checksum."""
    metadata = {name: text for name, text in _metadata(header).items() if name != SEAL}
    said = json.dumps([metadata, _tensors(header)], sort_keys=True)
    crc32 = zlib.crc32(said.encode())
    while block := data.read(_BLOCK_BYTES):
        crc32 = zlib.crc32(block, crc32)
    return f"{crc32:08x}"
