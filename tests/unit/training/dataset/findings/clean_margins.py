"""Prints how far the clean set is from every threshold.

`python -m tests.unit.dataset.clean_margins`
"""

import io
import sys
from collections.abc import Sequence

import av

from tests.media import Pixels, encode_clip
from tests.unit.training.dataset import flawed_media
from tests.unit.training.dataset.findings.clean_set import SHOTS, frames_of
from training.dataset.decoding.clip_looks import (
    CUT_CHANGE,
    CUT_HISTOGRAM,
    STILL_LEVELS,
    STILL_PIXELS,
    ClipWatch,
    change,
    drift,
)
from training.dataset.decoding.image_looks import BLURRED, softness, steepness

SEED = 7


def main() -> None:
    sys.stdout.write(
        f"steepness: blurred under {max(steep for _, steep in BLURRED)}, if softness is over "
        f"{[soft for soft, _ in BLURRED]}; still under {STILL_LEVELS} levels and {STILL_PIXELS} "
        f"pixels; a cut is over {CUT_CHANGE} and {CUT_HISTOGRAM}\n"
        f"{'clip':26} steepness  softness  levels  pixels  greatest change: mean, histogram\n"
    )
    for title, shot in SHOTS.items():
        _print(title, frames_of(shot))
    sys.stdout.write("and with the flaw:\n")
    _print("blurred", flawed_media.blurred(SEED))
    _print("standing", flawed_media.walk(1, seed=SEED) * 21)
    _print("cut", flawed_media.cut(SEED))


def _print(title: str, frames: Sequence[Pixels]) -> None:
    watch = ClipWatch()
    with av.open(io.BytesIO(encode_clip(frames)), "r") as container:
        shown = list(container.decode(video=0))
    for frame in shown:
        watch.see(frame)
    pictures = watch.cut(len(shown), shown[-1])
    greatest, moved = max(watch.changes)
    levels = max(change(pictures[0], other) for other in pictures[1:])
    pixels = max(drift(pictures[0], other) for other in pictures[1:])
    sharpest = max((pictures[0], pictures[len(pictures) // 2]), key=steepness)
    sys.stdout.write(
        f"{title:26} {steepness(sharpest):9.3f} {softness(sharpest):9.3f} "
        f"{levels:7.2f} {pixels:7.2f} {greatest:10.1f} {moved:10.2f}\n"
    )


if __name__ == "__main__":
    main()
