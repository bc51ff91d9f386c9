"""Exact reads and writes at a place in a file; less than was asked for is an error.

Plain reads rather than a memory map: a file that shrinks or a disk that fails then raises an
error instead of killing the program, network volumes get large requests, and copying out of
the page cache costs a twentieth of the merge.
"""

import ctypes
import errno
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


_libc = ctypes.CDLL(None, use_errno=True)
_SYNC_FILE_RANGE_WRITE = 2


def reserve(descriptor: int, size_bytes: int) -> None:
    """Give the file its full size, with blocks on the disk where the file system can.

    A full disk then shows at once, and writing is about twice as fast. `os.posix_fallocate`
    would write to every block where the file system cannot reserve them.

    Raises:
        OSError: There is no room.
    """
    start, length = ctypes.c_longlong(0), ctypes.c_longlong(size_bytes)
    if _libc.fallocate(descriptor, 0, start, length) == 0:
        return
    code = ctypes.get_errno()
    if code not in (errno.EOPNOTSUPP, errno.ENOSYS):
        raise OSError(code, os.strerror(code))
    os.truncate(descriptor, size_bytes)


def start_writeback(descriptor: int, offset: int, size_bytes: int) -> None:
    """Ask the kernel to write a part of the file to the disk now; do not wait for it.

    Otherwise the disk idles during the merge and all of the output is left to the last fsync.
    A hint: whether it was taken does not matter, the fsync waits for every byte either way.
    """
    start, length = ctypes.c_longlong(offset), ctypes.c_longlong(size_bytes)
    _libc.sync_file_range(descriptor, start, length, _SYNC_FILE_RANGE_WRITE)
