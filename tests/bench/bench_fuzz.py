"""Feeds thousands of mutated zips to the intake; each must give a report or a refusal.

Half have bytes of the zip changed, half those of a file in it, so that decoders and repair see
damage too and not only the zip's checksums. Whatever can be used is repaired.

`python -m tests.bench.bench_fuzz --zips 10000`; `--only N` plays one of them again.
"""

import argparse
import os
import random
import shutil
import struct
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from unittest.mock import patch

import psutil

from tests.bench.hardware import hardware
from tests.media import (
    ClipFormat,
    encode_clip,
    image_bytes,
    jpeg,
    mp4,
    pan,
    picture,
    png,
    zip_bytes,
)
from training.dataset import inspect as inspection
from training.dataset import repair as repairing
from training.dataset.decoding.pool import Pool
from training.dataset.inspect import inspect_zip
from training.dataset.limits import Limits
from training.dataset.repair import repair, verify_manifest
from training.dataset.zip.archive import ArchiveRefusedError
from training.errors import DatasetError
from training.files.sizes import MIB

LIMITS = Limits(unpacked_bytes=64 * MIB, archive_bytes=16 * MIB, worker_seconds=20, workers=2)
Zip = bytearray
Files = Mapping[str, bytes | str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--zips", type=int, default=10_000)
    parser.add_argument("--only", type=int, default=None)
    options = parser.parse_args()
    sys.stdout.write(hardware())
    bases = [_base(), {f"set/{n}": c for n, c in _texts().items()}]
    numbers = range(options.zips) if options.only is None else [options.only]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "scratch").mkdir()
        tempfile.tempdir = str(folder / "scratch")  # the intake unpacks there
        # One pool for all zips: starting decoders would take most of the time.
        pool = Pool(LIMITS, files=2, size_bytes=LIMITS.archive_bytes, most=2)
        with (
            pool,
            patch.object(inspection, "Pool", return_value=nullcontext(pool)),
            patch.object(repairing, "Pool", return_value=nullcontext(pool)),
        ):
            _Fuzz(folder).run(bases, numbers)
        tempfile.tempdir = None


class _Fuzz:
    """Feeds zips to the intake and checks what they leave behind."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.outcomes: Counter[str] = Counter()
        self.slowest, self.crashes, self.died = (0.0, 0), 0, 0
        self.peak_bytes = 0

    def run(self, bases: list[Files], numbers: range | list[int]) -> None:
        started = time.perf_counter()
        zips = [zip_bytes(base) for base in bases]
        for number in numbers:
            path = self.folder / "upload.zip"
            is_text = number % 5 == 4
            if number % 2:
                path.write_bytes(zip_bytes(mutated_file(bases[is_text], number)))
            else:
                path.write_bytes(mutated(zips[is_text], number))
            began = time.perf_counter()
            try:
                self.outcomes[self._take_in(path, number)] += 1
            except Exception:  # noqa: BLE001 - to be counted and shown, whatever it is
                self.crashes += 1
                sys.stdout.write(f"zip {number}:\n{traceback.format_exc(limit=-4)}")
            self.slowest = max(self.slowest, (time.perf_counter() - began, number))
            self._look_around(number)
        self._report(time.perf_counter() - started, len(numbers))

    def _take_in(self, path: Path, number: int) -> str:
        try:
            report = inspect_zip(path, limits=LIMITS)
        except ArchiveRefusedError as error:
            return f"refused: {error.code}"
        self.died += sum("crashed the decoder" in f.cause for f in report.findings)
        if not report.is_usable:
            return "errors found"
        try:
            repair(path, report, self.folder / "set", limits=LIMITS)
        except DatasetError as error:
            sys.stdout.write(f"zip {number}: {error}\n")
            return "usable, but repair refused"
        verify_manifest(self.folder / "set")
        return "repaired"

    def _look_around(self, number: int) -> None:
        """Raise if files are left behind; measure memory now and then."""
        names = {entry.name for entry in self.folder.iterdir()}
        strays = {n for n in names if n not in ("upload.zip", "scratch", "set")}
        strays = {n for n in strays if not n.startswith(".set.")}  # left by a refused repair
        if strays or any((self.folder / "scratch").iterdir()):
            raise SystemExit(f"zip {number} left {sorted(strays) or 'files in scratch'}")
        for left in names - {"upload.zip", "scratch"}:
            shutil.rmtree(self.folder / left)
        if number % 50 == 0:
            me = psutil.Process()
            family = [me, *me.children(recursive=True)]
            self.peak_bytes = max(self.peak_bytes, sum(p.memory_info().rss for p in family))

    def _report(self, seconds: float, count: int) -> None:
        slowest, number = self.slowest
        sys.stdout.write(
            f"{count} mutated zips in {seconds:.0f} s; {self.crashes} crashes; decoders died "
            f"{self.died} times; no file left or written elsewhere\n"
            f"slowest {slowest:.2f} s (zip {number}); peak of all processes "
            f"{self.peak_bytes / MIB:.0f} MiB\n"
        )
        for outcome, times in self.outcomes.most_common():
            sys.stdout.write(f"{times:7}  {outcome}\n")
        if self.crashes:
            raise SystemExit(1)


def mutated(base: bytes, seed: int) -> bytes:
    """Return the zip with some bytes, fields or parts changed; equal seeds give equal zips."""
    rng, content = random.Random(seed), bytearray(base)
    for _ in range(rng.choice((1, 1, 2, 4, 12))):
        rng.choice(MUTATIONS)(content, rng)
        if not content:
            return b"PK"
    return bytes(content)


def mutated_file(base: Files, seed: int) -> Files:
    """Return the files with bytes of one of them changed; their zip stays intact."""
    rng = random.Random(seed)
    name = rng.choice([name for name, content in base.items() if content])
    changed = base[name]
    content = bytearray(changed.encode() if isinstance(changed, str) else changed)
    for _ in range(rng.choice((1, 1, 2, 4, 12))):
        rng.choice(FILE_MUTATIONS)(content, rng)
        if not content:
            break
    return {**base, name: bytes(content)}


def _flip(content: Zip, rng: random.Random) -> None:
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)


def _overwrite(content: Zip, rng: random.Random) -> None:
    at, count = rng.randrange(len(content)), rng.randrange(1, 200)
    content[at : at + count] = rng.choice((bytes(count), rng.randbytes(count), b"\xff" * count))


def _cut(content: Zip, rng: random.Random) -> None:
    at = rng.randrange(len(content))
    del content[at : at + rng.choice((1, 7, 1000, len(content)))]


def _double(content: Zip, rng: random.Random) -> None:
    at, count = rng.randrange(len(content)), rng.randrange(1, 5000)
    content[at:at] = content[at : at + count]


def _field(content: Zip, rng: random.Random) -> None:
    """Change a field of the directory, of an entry or of the end record."""
    signature, fields = rng.choice(FIELDS)
    places = [i for i in range(len(content) - 46) if content.startswith(signature, i)]
    if not places:
        return
    at, (offset, form) = rng.choice(places), rng.choice(fields)
    most = 2 ** (8 * struct.calcsize(form)) - 1
    value = rng.choice((0, 1, 2, 8, 98, most, most - 1, rng.randrange(most), rng.randrange(5000)))
    struct.pack_into(form, content, min(at + offset, len(content) - 8), value)


def _rename(content: Zip, rng: random.Random) -> None:
    """Replace the name of an entry everywhere by another of the same length."""
    old = rng.choice((b"images/000", b"videos/001", b"images/001", b"set/a00.tx"))
    other = rng.choice((b"../../../x", b"/etc/passw", b"C:/Windows", b"..\\..\\..\\x",
                        b"images/\x00ab", b"\xff\xfe\x80\x81abcdef", b"images/..."))  # fmt: skip
    content[:] = content.replace(old, other)


# Signature of each record and the offsets of its fields.
FIELDS = (
    (b"PK\x01\x02", ((6, "<H"), (8, "<H"), (10, "<H"), (16, "<I"), (20, "<I"), (24, "<I"),
                     (28, "<H"), (30, "<H"), (32, "<H"), (38, "<I"), (42, "<I"))),
    (b"PK\x03\x04", ((6, "<H"), (8, "<H"), (14, "<I"), (18, "<I"), (22, "<I"), (26, "<H"))),
    (b"PK\x05\x06", ((4, "<H"), (8, "<H"), (10, "<H"), (12, "<I"), (16, "<I"), (20, "<H"))),
)  # fmt: skip
MUTATIONS: tuple[Callable[[Zip, random.Random], None], ...] = (
    *(_flip, _flip, _overwrite, _overwrite, _cut, _double, _field, _field, _rename),
)
FILE_MUTATIONS = (_flip, _flip, _overwrite, _cut, _double)


def _base() -> Files:
    vp9 = ClipFormat(container="webm", codec="libvpx-vp9", options=(("deadline", "realtime"),))
    clip = encode_clip(pan(5, 96, 80), stored=vp9)
    files: dict[str, bytes | str] = {
        "images/000.png": png(96, 80),
        "images/001.jpg": jpeg(96, 80, seed=1),
        "images/002.webp": image_bytes(picture(96, 80, seed=2), "WEBP"),
        "images/003.gif": image_bytes(picture(96, 80, seed=3), "GIF"),
        "videos/000.mp4": mp4(9, width=96, height=80),
        "videos/001.webm": clip,
    }
    texts = {str(Path(name).with_suffix(".txt")): f"ann1ka, {name}" for name in files}
    return {**files, **texts}


def _texts() -> Files:
    return {f"a{index:02d}.txt": f"ann1ka, {os.linesep * index}" for index in range(20)}


if __name__ == "__main__":
    main()
