"""Two calls of Linux that Python lacks; both only make a merge faster and fail earlier."""

import ctypes
import errno
import os

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
