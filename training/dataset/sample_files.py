"""Repairs single samples on demand, so that people see what training sees.

Files are decoded in other processes, as in a repair, and kept in a bounded cache on the scratch
disk. A clip takes about as long as in a repair; what is in the cache is returned at once.
"""

import hashlib
import shutil
import threading
from collections import OrderedDict
from pathlib import Path, PurePosixPath
from typing import Literal

from training.dataset.decoding.messages import DecoderReply, Shrink
from training.dataset.decoding.pool import PAYS_BYTES, Pool
from training.dataset.limits import Limits
from training.dataset.repair import conversion, refuse_failed, unpack
from training.dataset.report import Sample
from training.dataset.zip.archive import open_archive
from training.files.sizes import MIB
from training.files.temporary import make_scratch_folder, scratch_folder

Wanted = Literal["repaired", "thumbnail"]
MOST_BYTES = 512 * MIB
_MOST_AT_ONCE = 2
_JPEG_QUALITY = 85


class SampleFiles:
    """Repaired files and thumbnails of single samples, in a cache that ends with the process."""

    def __init__(self, limits: Limits | None = None, most_bytes: int = MOST_BYTES) -> None:
        self._limits, self._most_bytes = limits or Limits(), most_bytes
        self._changing = threading.Lock()
        self._sizes: OrderedDict[str, int] = (
            OrderedDict()
        )  # by file name, least recently used first
        self._folder: Path | None = None
        self._pool: Pool | None = None

    def find(self, archive: Path, sample: Sample, wanted: Wanted) -> Path:
        """Return a sample's file; it may be deleted once it was not used for long.

        Raises:
            DatasetError: The zip has changed, or the file cannot be decoded.
        """
        name = _name(sample, wanted)
        with self._changing:
            folder = self._folder = self._folder or make_scratch_folder("samples")
            if name in self._sizes:
                self._sizes.move_to_end(name)
                return folder / name
            pool = self._pool = self._pool or _pool(self._limits)
        make = self._shrink if wanted == "thumbnail" else self._repair
        with scratch_folder("sample", folder) as scratch:
            source, made = scratch / "source", scratch / name
            with open_archive(archive, self._limits) as opened:
                members = {member.path: member for member in opened.members}
                unpack(opened, members.get(sample.source), sample, source)
            make(pool, sample, source, made)
            self._keep(folder, made)
        return folder / name

    def rest(self) -> None:
        """End the decoding processes until a file is wanted again."""
        with self._changing:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.__exit__(None, None, None)

    def close(self) -> None:
        """End the decoding processes and delete all files."""
        self.rest()
        with self._changing:
            folder, self._folder = self._folder, None
            self._sizes.clear()
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)

    def _keep(self, folder: Path, made: Path) -> None:
        """Move a file into the cache, and delete those that were not used for longest."""
        size_bytes = made.stat().st_size
        with self._changing:
            made.replace(folder / made.name)
            self._sizes[made.name] = size_bytes
            while len(self._sizes) > 1 and sum(self._sizes.values()) > self._most_bytes:
                oldest, _ = self._sizes.popitem(last=False)
                (folder / oldest).unlink(missing_ok=True)

    def _repair(self, pool: Pool, sample: Sample, source: Path, target: Path) -> None:
        refuse_failed(sample, pool.submit(conversion(sample, source, target)).result())

    def _shrink(self, pool: Pool, sample: Sample, source: Path, target: Path) -> None:
        reply: DecoderReply = pool.submit(Shrink(kind=sample.kind, path=str(source))).result()
        refuse_failed(sample, reply)
        if reply.thumbnail is not None:
            reply.thumbnail.image().save(target, "JPEG", quality=_JPEG_QUALITY)


def _pool(limits: Limits) -> Pool:
    return Pool(limits, _MOST_AT_ONCE, _MOST_AT_ONCE * PAYS_BYTES, most=_MOST_AT_ONCE)


def _name(sample: Sample, wanted: Wanted) -> str:
    """Return a name that depends on everything that the file is made from."""
    suffix = ".jpg" if wanted == "thumbnail" else PurePosixPath(sample.name).suffix
    made_from = f"{sample.sha256} {sample.kind} {sample.frames_16fps} {sample.is_interlaced}"
    return hashlib.sha256(f"{wanted} {made_from}".encode()).hexdigest()[:32] + suffix
