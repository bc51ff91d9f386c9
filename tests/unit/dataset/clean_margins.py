"""How far the clean set stays from every threshold.

`python -m tests.unit.dataset.clean_margins`
"""

import io
import sys
from collections.abc import Sequence

import av

from tests.media import Pixels, encode_clip
from tests.unit.dataset import flawed_media
from tests.unit.dataset.clean_set import SHOTS, frames_of
from training.dataset.clip_looks import (
    CUT_CHANGE,
    CUT_HISTOGRAM,
    STILL_CHANGE,
    ClipWatch,
    movement,
)
from training.dataset.looks import BLURRED, softness, steepness

SEED = 7


def main() -> None:
    sys.stdout.write(
        f"steepness: blurred under {max(steep for _, steep in BLURRED)}, if softness is over "
        f"{[soft for soft, _ in BLURRED]}; movement: still under {STILL_CHANGE}; a cut is over "
        f"{CUT_CHANGE} and {CUT_HISTOGRAM}\n"
        f"{'clip':26} steepness  softness  movement  greatest change: mean, histogram\n"
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
        for frame in container.decode(video=0):
            watch.see(frame)
    watch.look()
    change, moved = max(watch.changes)
    sharpest = max((watch.kept[0], watch.kept[len(watch.kept) // 2]), key=steepness)
    sys.stdout.write(
        f"{title:26} {steepness(sharpest):9.3f} {softness(sharpest):9.3f} "
        f"{movement(watch.kept):9.2f} {change:10.1f} {moved:10.2f}\n"
    )


if __name__ == "__main__":
    main()
