"""Computes the SHA-256 and CRC-32 of files."""

import hashlib
import zlib
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from pathlib import Path
from threading import Event

SHA256 = r"^[0-9a-f]{64}$"
_CHUNK_BYTES = 1 << 22
_BLOCK_BYTES = 1 << 18


def file_sha256(path: Path, stop: Event | None = None) -> str:
    """Return the SHA-256 of a file in hex; if `stop` is set meanwhile, return a meaningless value.

    One chunk is hashed while the next is read. Hashing uses only one core, and a merge on many
    cores has to wait for it, so reading must not slow it down.
    """
    digest = hashlib.sha256()
    buffers = cycle([memoryview(bytearray(_CHUNK_BYTES)), memoryview(bytearray(_CHUNK_BYTES))])
    with path.open("rb", buffering=0) as file, ThreadPoolExecutor(1) as reader:
        buffer = next(buffers)
        count = file.readinto(buffer)
        while count and not (stop and stop.is_set()):
            following = next(buffers)
            ahead = reader.submit(file.readinto, following)
            digest.update(buffer[:count])
            buffer, count = following, ahead.result()
    return digest.hexdigest()


def file_crc32(path: Path, start: int = 0, crc32: int = 0) -> int:
    """Return the CRC-32 of a whole file, as zip files record it.

    The bytes before `start` are not read; `crc32` is their checksum. Many downloads may run this at
    the same time, so each call uses little memory.
    """
    block = memoryview(bytearray(_BLOCK_BYTES))
    with path.open("rb", buffering=0) as file:
        file.seek(start)
        while count := file.readinto(block):
            crc32 = zlib.crc32(block[:count], crc32)
    return crc32
