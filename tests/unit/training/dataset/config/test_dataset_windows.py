"""The predicted frames are those that musubi-tuner's own code takes."""

import json
from pathlib import Path
from typing import Any

import pytest

from training.dataset.config.frame_windows import Extract, kept_frames, windows

# Written by ask_musubi.py, which runs musubi-tuner itself.
ANSWERS: dict[str, Any] = json.loads(Path(__file__).with_name("musubi_windows.json").read_bytes())


def extract(cut: dict[str, Any]) -> Extract:
    return Extract(
        mode=cut["frame_extraction"],
        target_frames=tuple(cut["target_frames"]),
        stride=cut.get("frame_stride", 1),
        sample=cut.get("frame_sample", 1),
        max_frames=cut.get("max_frames", 129),
    )


def test_every_mode_has_the_windows_of_musubi() -> None:
    modes = {answer["cut"]["frame_extraction"] for answer in ANSWERS["windows"]}
    assert modes == {"head", "chunk", "slide", "uniform", "full"}

    for answer in ANSWERS["windows"]:
        found = windows(answer["frames"], extract(answer["cut"]))

        assert [list(window) for window in found] == answer["taken"], answer


def test_frames_of_other_rates_are_dropped_as_musubi_drops_them() -> None:
    for answer in ANSWERS["rates"]:
        assert kept_frames(answer["frames"], answer["rate"]) == answer["kept"], answer


@pytest.mark.parametrize(("frames", "kept"), [(1, 1), (16, 16), (81, 81)])
def test_clips_at_16_fps_keep_every_frame(frames: int, kept: int) -> None:
    assert kept_frames(frames, 16.0) == kept
