"""Reads and writes at file offsets, and two Linux calls that Python lacks.

A memory map would avoid copying from the page cache; the copying takes a twentieth of a merge's
time. But with a map, a shrinking file or a failing disk kills the process, whereas a read raises an
error; and a map makes many small requests to a network volume.
"""

import ctypes
import errno
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from training.files.safetensors_header import TensorEntry

COPY_BYTES = 1 << 19
Room = Callable[[int], memoryview]  # returns memory for the given number of bytes


def read_at(descriptor: int, buffer: memoryview, offset: int) -> None:
    """Fill `buffer` from byte `offset` of the file; `OSError` if the file is too short."""
    done = 0
    while done < len(buffer):
        count = os.preadv(descriptor, [buffer[done:]], offset + done)
        if count == 0:
            raise OSError("the file shrank while being read")
        done += count


def write_at(descriptor: int, data: memoryview, offset: int) -> None:
    """Write all of `data` at byte `offset`."""
    done = 0
    while done < len(data):
        done += os.pwrite(descriptor, data[done:], offset + done)


def tensor_chunks(descriptor: int, spec: TensorEntry, room: Room) -> Iterator[memoryview]:
    """Yield the tensor's bytes in order, chunk by chunk; `room` provides each chunk's memory."""
    for done in range(0, spec.size_bytes, COPY_BYTES):
        chunk = room(min(COPY_BYTES, spec.size_bytes - done))
        read_at(descriptor, chunk, spec.start + done)
        yield chunk


def tensor_sha256(path: Path, spec: TensorEntry) -> str:
    """Return the SHA-256 of the tensor's bytes."""
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(COPY_BYTES))
    with path.open("rb", buffering=0) as file:
        for chunk in tensor_chunks(file.fileno(), spec, lambda size: buffer[:size]):
            digest.update(chunk)
    return digest.hexdigest()


_libc = ctypes.CDLL(None, use_errno=True)
_SYNC_FILE_RANGE_WRITE = 2


def reserve(descriptor: int, size_bytes: int) -> None:
    """Give the file its full size and, if the file system can, reserve its blocks.

    A full disk then raises `OSError` at once, and writing is about twice as fast. This calls Linux
    directly, because `os.posix_fallocate` writes to every block if it cannot reserve them.
    """
    start, length = ctypes.c_longlong(0), ctypes.c_longlong(size_bytes)
    if _libc.fallocate(descriptor, 0, start, length) == 0:
        return
    code = ctypes.get_errno()
    if code not in (errno.EOPNOTSUPP, errno.ENOSYS):
        raise OSError(code, os.strerror(code))
    os.truncate(descriptor, size_bytes)


def start_writeback(descriptor: int, offset: int, size_bytes: int) -> None:
    """Ask the kernel to start writing part of the file to disk.

    Otherwise the disk idles during the merge and the final fsync has to write all of the output.
    """
    start, length = ctypes.c_longlong(offset), ctypes.c_longlong(size_bytes)
    _libc.sync_file_range(descriptor, start, length, _SYNC_FILE_RANGE_WRITE)
