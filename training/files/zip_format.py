"""Parts of the zip format: the records at the end of a zip, and members with a fixed date.

Source: APPNOTE 6.3.10, sections 4.3.14 to 4.3.16.
"""

import struct
import zipfile
from collections.abc import Iterable, Iterator
from typing import BinaryIO

EARLIEST = (1980, 1, 1, 0, 0, 0)  # the earliest date and time that a zip can hold
END = struct.Struct("<4s4H2LH")
ZIP64_LOCATOR = struct.Struct("<4sLQL")
ZIP64_END = struct.Struct("<4sQ2H2L4Q")
FILE_MARK, END_MARK = b"PK\x03\x04", b"PK\x05\x06"
ZIP64_LOCATOR_MARK, ZIP64_END_MARK = b"PK\x06\x07", b"PK\x06\x06"
_BLOCK_BYTES = 1 << 20


def member(name: str) -> zipfile.ZipInfo:
    """Return an entry with a fixed date, so that the same files always give the same zip."""
    return zipfile.ZipInfo(name, EARLIEST)


def add(archive: zipfile.ZipFile, name: str, blocks: Iterable[bytes]) -> None:
    """Add a file of any size, given as blocks, to a zip."""
    with archive.open(member(name), "w", force_zip64=True) as target:
        for block in blocks:
            target.write(block)


def blocks_of(stream: BinaryIO) -> Iterator[bytes]:
    """Yield the rest of a stream, block by block."""
    while block := stream.read(_BLOCK_BYTES):
        yield block
