"""SHA-256 of files, reading ahead while hashing."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from pathlib import Path
from threading import Event

_CHUNK_BYTES = 1 << 22


def file_sha256(path: Path, stop: Event | None = None) -> str:
    """Return the SHA-256 of a file in hex; once `stop` is set, a meaningless value.

    The next chunk is read while one is hashed: hashing one file cannot be parallelised, and on a
    machine with many cores it is what a merge waits for.
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
