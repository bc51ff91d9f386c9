"""The content of a download: an ordered list of pieces, from memory and from stored files."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from bot.service.downloads.checks import checksum
from training.errors import NotFoundError
from training.ports import FileReader, Store

_BLOCK_BYTES = 1 << 20
# Files whose content was found to differ from what was saved: (key, expected checksum).
_altered = set[tuple[str, int]]()


@dataclass(frozen=True, slots=True)
class FileRange:
    """A range of a stored file. The file is opened only when the range is read.

    Attributes:
        file_bytes: The recorded size of the whole file.
        crc32: The recorded checksum of the whole file.
    """

    store: Store
    key: str
    file_bytes: int
    crc32: int
    start: int
    size_bytes: int

    @classmethod
    def of(cls, store: Store, key: str, file_bytes: int, crc32: int) -> "FileRange":
        """Return a range that covers the whole file."""
        return cls(store, key, file_bytes, crc32, 0, file_bytes)

    @property
    def stop(self) -> int:
        return self.start + self.size_bytes

    def open(self) -> FileReader:
        """Return a reader of the whole file.

        Raises:
            NotFoundError: The file is gone, or its size is not the recorded one.
            OSError: The file cannot be read at the moment.
        """
        try:
            reader = self.store.reader(self.key)
        except FileNotFoundError as error:
            raise self._refusal("is no longer stored") from error
        if reader.size_bytes != self.file_bytes:
            size = f"{reader.size_bytes:,} bytes instead of {self.file_bytes:,}"
            raise self._refusal(f"is damaged: it has {size}")
        return reader

    def check(self, reader: FileReader) -> None:
        """Raise `NotFoundError` unless the file's checksum is the recorded one."""
        if checksum(reader) != self.crc32:
            _altered.add((self.key, self.crc32))
            raise self._refusal("is damaged: its content is not what was saved")
        _altered.discard((self.key, self.crc32))

    def checked(self) -> FileReader:
        """Check the file and return a reader of the whole file.

        Raises:
            NotFoundError: The file is gone or damaged.
            OSError: The file cannot be read at the moment.
        """
        reader = self.open()
        self.check(reader)
        return reader

    def is_known_to_be_altered(self) -> bool:
        """Return whether the file has failed an earlier check and fails a new one too."""
        if (self.key, self.crc32) not in _altered:
            return False
        try:
            self.checked()
        except NotFoundError:
            return True
        return False

    def _refusal(self, problem: str) -> NotFoundError:
        name = self.key.rpartition("/")[2]
        return NotFoundError(f"{name} {problem}.", "Download the run's other checkpoints.")


Piece = bytes | FileRange


@dataclass(frozen=True, slots=True)
class Content:
    """The content that one link leads to.

    Attributes:
        etag: A hash of the name and content, so that it is the same in every process.
    """

    name: str
    media_type: str
    pieces: tuple[Piece, ...]
    etag: str

    @property
    def size_bytes(self) -> int:
        return sum(map(piece_bytes, self.pieces))

    def part(self, start: int, stop: int) -> Iterator[Piece]:
        """Yield the pieces that make up the bytes from `start` to `stop` (exclusive)."""
        at = 0
        for piece in self.pieces:
            first, last = max(start - at, 0), min(stop - at, piece_bytes(piece))
            if first < last:
                yield _cut(piece, first, last)
            at += piece_bytes(piece)


def content(name: str, media_type: str, pieces: Sequence[Piece]) -> Content:
    """Return the content, with an ETag made from its bytes in memory and its files' checksums."""
    digest = hashlib.sha256(name.encode())
    for piece in pieces:
        if isinstance(piece, bytes):
            digest.update(piece)
        else:
            digest.update(f"\n{piece.size_bytes} {piece.crc32}\n".encode())
    return Content(name, media_type, tuple(pieces), f'"{digest.hexdigest()[:32]}"')


def piece_bytes(piece: Piece) -> int:
    return len(piece) if isinstance(piece, bytes) else piece.size_bytes


def blocks(pieces: Sequence[Piece]) -> Iterator[bytes]:
    """Yield the bytes of pieces, block by block."""
    for piece in pieces:
        if isinstance(piece, bytes):
            yield piece
            continue
        reader = piece.checked()
        for start in range(piece.start, piece.stop, _BLOCK_BYTES):
            yield reader.read(start, min(_BLOCK_BYTES, piece.stop - start))


def _cut(piece: Piece, first: int, last: int) -> Piece:
    if isinstance(piece, bytes):
        return piece[first:last]
    return replace(piece, start=piece.start + first, size_bytes=last - first)
