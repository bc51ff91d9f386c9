"""Writing past the page cache, where the file system can.

A merge's output is read again by another process at the earliest, so a copy of it in the page
cache is memory and time lost: on 2 virtual cores writing 3.5 GB took 0.4 s of CPU time this
way and 2.6 to 8.5 s through the page cache. Where a file system refuses, the bytes go through
the page cache; they are the same.

The disk is waited for by threads of its own: while one buffer is written the next is filled.
"""

import errno
import mmap
import os
from concurrent.futures import Executor, Future, wait
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from training.merge.disk.file_io import start_writeback, write_at

_PAGE = 4096  # a multiple of every disk's sector size, and what the page cache divides by
_MOST_ALIGNED = 16  # no number is larger, so what begins at a multiple may hold any


class StreamWriter:
    """Writes consecutive bytes into a part of an existing file; a context manager.

    The caller fills the memory that `room` gives and then says `commit`, so that nothing is
    copied. Whole pages go to the disk directly. The pages at both ends may belong to a
    neighbour as well, so they go through the page cache, which puts the parts together.
    """

    def __init__(self, path: Path, start: int, most_bytes: int, disk: Executor) -> None:
        """Begin at byte `start` of the file; no call of `room` asks for more than `most_bytes`.

        `disk` runs the writes, one of this file's part at a time.
        """
        self._start, self._disk = start, disk
        self._cached = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        # Single rows are read back: what lies beside them need not come from the disk.
        os.posix_fadvise(self._cached, 0, 0, os.POSIX_FADV_RANDOM)
        # A direct write has its bytes in memory at the same place within a page as in the file.
        # Numbers that are not aligned in the file would then not be aligned in memory either.
        self._direct = _open_directly(path) if start % _MOST_ALIGNED == 0 else None
        self._begin = self._end = start % _PAGE if self._direct is not None else 0
        self._offset = start - self._begin  # the place of the memory's first byte in the file
        size = most_bytes + 2 * _PAGE
        self._memory, self._other = (memoryview(mmap.mmap(-1, size)) for _ in range(2))
        self._writing: Future[None] | None = None  # of the other memory

    @property
    def descriptor(self) -> int:
        """A descriptor to read back what was flushed."""
        return self._cached

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._writing is not None:
            wait([self._writing])  # of a merge that has failed already
        os.close(self._cached)
        if self._direct is not None:
            os.close(self._direct)

    def room(self, size_bytes: int) -> memoryview:
        """Return memory for the bytes that come next; it is valid until the next call.

        Raises:
            OSError: An earlier write has failed.
        """
        if self._end + size_bytes > len(self._memory):
            self._write_pages()
        return self._memory[self._end : self._end + size_bytes]

    def commit(self, size_bytes: int) -> None:
        """Append what was filled of the memory that `room` gave."""
        self._end += size_bytes

    def flush(self) -> None:
        """Write what is still in the buffer; nothing may be appended afterwards.

        Raises:
            OSError: A write has failed.
        """
        self._write_pages()
        self._wait()
        self._write_cached(self._memory[self._begin : self._end], self._offset + self._begin)
        if self._direct is None:
            size = self._offset + self._end - self._start
            start_writeback(self._cached, self._start, size)

    def _write_pages(self) -> None:
        """Have all whole pages written, and begin the other memory with the rest."""
        first, last = -(-self._begin // _PAGE) * _PAGE, self._end // _PAGE * _PAGE
        if first > last:
            return
        self._wait()
        rest = self._end - last
        self._other[:rest] = self._memory[last : self._end]
        full, begin, offset = self._memory[:last], self._begin, self._offset
        self._writing = self._disk.submit(self._write, full, begin, first, offset)
        self._memory, self._other = self._other, self._memory
        self._offset += last
        self._begin, self._end = 0, rest

    def _wait(self) -> None:
        if self._writing is not None:
            writing, self._writing = self._writing, None
            writing.result()

    def _write(self, memory: memoryview, begin: int, first: int, offset: int) -> None:
        self._write_cached(memory[begin:first], offset + begin)
        self._write_direct(memory[first:], offset + first)

    def _write_cached(self, data: memoryview, offset: int) -> None:
        write_at(self._cached, data, offset)

    def _write_direct(self, data: memoryview, offset: int) -> None:
        if self._direct is not None:
            try:
                write_at(self._direct, data, offset)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                os.close(self._direct)
                self._direct = None
            else:
                return
        self._write_cached(data, offset)


def _open_directly(path: Path) -> int | None:
    with suppress(OSError):
        return os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_DIRECT)
    return None
