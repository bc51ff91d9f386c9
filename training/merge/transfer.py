"""Exact reads and writes at a place in a file; less than was asked for is an error.

Plain reads rather than a memory map: a file that shrinks or a disk that fails then raises an
error instead of killing the program, network volumes get large requests, and copying out of
the page cache costs a twentieth of the merge.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from training.files.safetensors_header import TensorEntry

COPY_BYTES = 1 << 19
Room = Callable[[int], memoryview]  # gives memory for so many bytes


def read_at(descriptor: int, buffer: memoryview, offset: int) -> None:
    """Fill `buffer` from the file, starting at byte `offset`.

    Raises:
        OSError: The file ends before that.
    """
    done = 0
    while done < len(buffer):
        count = os.preadv(descriptor, [buffer[done:]], offset + done)
        if count == 0:
            raise OSError("the file became shorter while it was read")
        done += count


def write_at(descriptor: int, data: memoryview, offset: int) -> None:
    """Write all of `data` at byte `offset`."""
    done = 0
    while done < len(data):
        done += os.pwrite(descriptor, data[done:], offset + done)


def tensor_chunks(descriptor: int, spec: TensorEntry, room: Room) -> Iterator[memoryview]:
    """Yield the tensor's bytes in order, each chunk in memory that `room` gave."""
    for done in range(0, spec.size_bytes, COPY_BYTES):
        chunk = room(min(COPY_BYTES, spec.size_bytes - done))
        read_at(descriptor, chunk, spec.start + done)
        yield chunk


def tensor_sha256(path: Path, spec: TensorEntry) -> str:
    """Return the SHA-256 of the tensor's bytes in the file at `path`."""
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(COPY_BYTES))
    with path.open("rb", buffering=0) as file:
        for chunk in tensor_chunks(file.fileno(), spec, lambda size: buffer[:size]):
            digest.update(chunk)
    return digest.hexdigest()
