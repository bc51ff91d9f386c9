"""Clips for the benchmarks: camera moves over photographs, encoded once and kept."""

import os
import zipfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from tests.media import ClipFormat, Pixels, encode_clip
from tests.photos import camera_move, framed, photograph

SIZE = (1280, 720)
FPS, SECONDS = 24, 5
PADDED_BYTES = 20 * 2**20
PHOTOS = ("astronaut.png", "chelsea.png", "coffee.png", "hubble_deep_field.jpg",
          "motorcycle_left.png", "rocket.jpg")  # fmt: skip
GRAIN = 2.5  # of 255
# As editors export: CABAC and B frames, about 4 Mbit/s.
STORED = ClipFormat(options=(("crf", "20"), ("preset", "veryfast")))


def footage(folder: Path, count: int) -> list[Path]:
    """Return `count` clips of 5 s at 24 fps and 1280 x 720; reuse those already there."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{index:03d}.mp4" for index in range(count)]
    missing = [index for index, path in enumerate(paths) if not path.exists()]
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        list(pool.map(_encode, missing, [paths[index] for index in missing]))
    return paths


def zipped(clips: list[Path], target: Path) -> Path:
    """Write clips with captions as a zip, packed as system tools pack them."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for clip in clips:
            archive.write(clip, f"videos/{clip.name}")
            archive.writestr(f"videos/{clip.stem}.txt", f"ann1ka, take {clip.stem}")
    return target


def _encode(index: int, path: Path) -> None:
    photo = photograph(PHOTOS[index % len(PHOTOS)])
    x, y = (index * 0.37) % 1, (index * 0.61) % 1
    start, end = framed(photo, SIZE, 1.3, x, y), framed(photo, SIZE, 1.7, 1 - x, 1 - y)
    frames = camera_move(photo, start, end, frames=FPS * SECONDS, size=SIZE)
    partial = path.with_suffix(".partial")
    partial.write_bytes(encode_clip(_grainy(frames, index), fps=FPS, stored=STORED))
    partial.rename(path)


def _grainy(frames: Iterator[Pixels], seed: int) -> Iterator[Pixels]:
    """Add a camera's noise: without it, clips are a tenth of the size and decode twice as fast."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(0, GRAIN, (SIZE[1] * 2, SIZE[0] * 2, 1)).round().astype(np.int16)
    for frame in frames:
        top, left = rng.integers(0, SIZE[1]), rng.integers(0, SIZE[0])
        grain = noise[top : top + SIZE[1], left : left + SIZE[0]]
        yield np.clip(frame + grain, 0, 255).astype(np.uint8)


def large_zip(clips: list[Path], target: Path, gigabytes: float) -> Path:
    """Write a zip of this many GiB: clips padded to 20 MiB with incompressible bytes.

    The padding lies in an MP4 box that players skip, so that every clip differs and decodes.
    """
    count = max(1, round(gigabytes * 2**30 / PADDED_BYTES))
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for index in range(count):
            content = clips[index % len(clips)].read_bytes()
            padding = os.urandom(PADDED_BYTES - len(content) - 8)
            box = (len(padding) + 8).to_bytes(4, "big") + b"free" + padding
            archive.writestr(f"videos/{index:04d}.mp4", content + box)
            archive.writestr(f"videos/{index:04d}.txt", f"ann1ka, take {index}")
    return target
