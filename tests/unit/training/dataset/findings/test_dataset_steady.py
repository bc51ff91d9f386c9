"""A repaired clip has the same findings as the original, except those that repair fixes."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests import media
from tests.media import ClipFormat, Pixels, encode_clip
from tests.photos import camera_move, framed, photograph
from tests.unit.training.dataset import flawed_media
from training.dataset.findings.rules import RULES
from training.dataset.inspect import inspect_zip
from training.dataset.repair import repair
from training.dataset.report import Report

SIZE = (640, 360)
SECONDS = 1.4
AS_EXPORTED = ClipFormat(options=(("crf", "23"), ("preset", "veryfast")))
Files = Mapping[str, bytes | str]


def drifting(pixels: float, frames: int, *, noise: float = 0, light: float = 1) -> list[Pixels]:
    """Return frames of a photograph that moves this many pixels from the first to the last."""
    photo, rng = photograph("coffee.png"), np.random.default_rng(5)
    start = framed(photo, SIZE, 1.3, 0.4, 0.4)
    way = pixels / SIZE[0] * (start[2] - start[0])
    end = (start[0] + way, start[1], start[2] + way, start[3])
    made: list[Pixels] = []
    for frame in camera_move(photo, start, end, frames=frames, size=SIZE):
        grain = rng.normal(0, noise, (SIZE[1], SIZE[0], 1)) if noise else 0
        made.append(np.clip(frame * light + grain, 0, 255).astype(np.uint8))
    return made


def at_rate(pixels: float, fps: int, **look: float) -> bytes:
    return encode_clip(drifting(pixels, round(fps * SECONDS), **look), fps=fps, stored=AS_EXPORTED)


def uneven(pixels: float) -> bytes:
    times = [Fraction(index, 30) + Fraction(index % 3, 90) for index in range(round(30 * SECONDS))]
    return encode_clip(drifting(pixels, len(times)), times=times, stored=AS_EXPORTED)


# Pixels from the first to the last frame; a clip counts as moving from a quarter on.
STANDING: Mapping[str, Callable[[], bytes]] = {
    "tripod, noisy": lambda: at_rate(0, 24, noise=4),
    "tripod, very noisy": lambda: at_rate(0, 30, noise=10),
    "tripod, dark and noisy": lambda: at_rate(0, 48, noise=4, light=0.2),
    "a sixth, uneven": lambda: uneven(0.16),
}
MOVING: Mapping[str, Callable[[], bytes]] = {
    "a third": lambda: at_rate(0.36, 24),
    "a third, noisy": lambda: at_rate(0.36, 30, noise=4),
    "one, dark and noisy": lambda: at_rate(1, 24, noise=4, light=0.2),
    "one, slow": lambda: at_rate(1, 8),
}


# Each seed is another picture; repair writes all of these anew.
LOOKS: Mapping[str, Callable[[int], list[Pixels]]] = {
    "fine": lambda seed: flawed_media.walk(seed=seed),
    "blurry": flawed_media.blurred,
    "letterboxed": flawed_media.barred,
    "black-frames": flawed_media.faded,
    "blank-frames": flawed_media.flash,
    "scene-cut": flawed_media.cut,
    "low-resolution": lambda seed: flawed_media.walk(seed=seed, width=320, height=192),
    "extreme-aspect": lambda seed: flawed_media.walk(seed=seed, width=1440, height=400),
}


def looked_at_twice(folder: Path, files: Files) -> tuple[Report, Report]:
    """Return the reports on a set before and after its repair."""
    path = media.write_zip(folder / "set.zip", files)
    first = inspect_zip(path)
    repair(path, first, folder / "set")
    written = {str(entry.relative_to(folder / "set")): entry.read_bytes()
               for entry in sorted((folder / "set").glob("*/*"))}  # fmt: skip
    return first, inspect_zip(media.write_zip(folder / "again.zip", written))


def by_sample(report: Report, *, is_first: bool) -> Iterator[tuple[str, str]]:
    """Yield each sample of the repaired set with each code that repair does not fix."""
    names = {sample.source if is_first else sample.name: sample.name for sample in report.samples}
    for finding in report.findings:
        if not RULES[finding.code].is_repaired:
            yield from ((names[file], finding.code) for file in finding.files if file in names)


@pytest.fixture(scope="module")
def borderline(tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, Report]:
    files: dict[str, bytes | str] = {}
    for index, make in enumerate((*STANDING.values(), *MOVING.values())):
        files |= {f"{index:02d}.mp4": make(), f"{index:02d}.txt": f"ann1ka, take {index}"}
    return looked_at_twice(tmp_path_factory.mktemp("borderline"), files)


@pytest.mark.slow
def test_still_clips_are_told_from_slow_ones_before_and_after_repair(
    borderline: tuple[Report, Report],
) -> None:
    standing = {f"videos/{index:02d}.mp4" for index in range(len(STANDING))}

    for report, is_first in zip(borderline, (True, False), strict=True):
        found = by_sample(report, is_first=is_first)

        assert {name for name, code in found if code == "static-clip"} == standing


@pytest.mark.slow
def test_repair_adds_and_removes_no_finding(tmp_path: Path) -> None:
    files: dict[str, bytes | str] = {}
    for code, make in LOOKS.items():
        for fps in (24, 30):
            name = f"{code}-{fps}"
            clip = encode_clip(make(fps), fps=fps, stored=AS_EXPORTED)
            files |= {f"{name}.mp4": clip, f"{name}.txt": f"ann1ka, {name}"}
    worse = replace(AS_EXPORTED, options=(("crf", "32"), ("preset", "veryfast")))
    files |= {"copy.mp4": encode_clip(LOOKS["fine"](24), fps=24, stored=worse), "copy.txt": "copy"}

    first, second = looked_at_twice(tmp_path, files)

    before, after = (sorted(by_sample(report, is_first=is_first))
                     for report, is_first in ((first, True), (second, False)))  # fmt: skip
    flaws = {(f"videos/{code}-{fps}.mp4", code) for code in LOOKS for fps in (24, 30)}
    flawless = {flaw for flaw in flaws if flaw[1] == "fine"}
    assert {found for found in before if found[1] in LOOKS} == flaws - flawless
    assert ("videos/fine-24.mp4", "near-duplicate") in before
    assert after == before


def test_clips_are_judged_by_the_frames_that_training_sees(tmp_path: Path) -> None:
    """At 60 fps, a black frame lies between two kept ones, and a cut in the part cut off."""
    frames = list(media.pan(120, 320, 192, seed=1))
    hidden = [np.zeros_like(f) if i == 62 else f for i, f in enumerate(frames)]
    other = list(media.pan(1, 320, 192, seed=2)) * 2
    files = {
        "black.mp4": encode_clip(hidden, fps=60),
        "black.txt": "a",
        "end.mp4": encode_clip([*media.pan(21, 320, 192, seed=3), *other], fps=16),
        "end.txt": "b",
        "slow.mp4": encode_clip(media.pan(10, 320, 192, seed=4), fps=5),
        "slow.txt": "c",
    }

    first, second = looked_at_twice(tmp_path, files)

    looks = {"black-frames", "scene-cut", "static-clip", "blurry", "letterboxed"}
    assert not looks & {*first.codes(), *second.codes()}
