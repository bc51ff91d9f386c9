"""Clips for the benchmarks: camera moves over photographs, encoded once and kept."""

import os
import zipfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from tests.media import ClipFormat, encode_clip
from tests.photos import camera_move, framed, photograph

SIZE = (1280, 720)
FPS, SECONDS = 24, 5
PHOTOS = ("astronaut.png", "chelsea.png", "coffee.png", "hubble_deep_field.jpg",
          "motorcycle_left.png", "rocket.jpg")  # fmt: skip
# As editors export: CABAC and B frames, about 4 Mbit/s.
STORED = ClipFormat(options=(("crf", "20"), ("preset", "veryfast")))


def footage(folder: Path, count: int) -> list[Path]:
    """Return `count` clips of 5 s at 24 fps and 1280 x 720; those already there are taken."""
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
    partial.write_bytes(encode_clip(frames, fps=FPS, stored=STORED))
    partial.rename(path)
