"""Asks musubi-tuner's own code which keys and frames it takes, and prints the answers as JSON.

Made with musubi-tuner at commit 30c658c, in an environment where it is installed:

    cd tests/unit/training/dataset/config && python ask_musubi.py > musubi_windows.json
"""
# pyright: reportMissingImports=false, reportMissingModuleSource=false
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

import json
import logging
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

COMMIT = "30c658c4f4b0bf05038b3346eff9670259b10fc7"
LENGTHS = (1, 4, 5, 9, 17, 20, 21, 22, 33, 44, 45, 46, 61, 81, 90, 129, 140)
CUTS: tuple[dict[str, Any], ...] = (
    {"frame_extraction": "head", "target_frames": [1, 21]},
    {"frame_extraction": "head", "target_frames": [1, 9, 18]},
    {"frame_extraction": "head", "target_frames": [45, 5, 45]},
    {"frame_extraction": "chunk", "target_frames": [9]},
    {"frame_extraction": "chunk", "target_frames": [1, 21, 33]},
    {"frame_extraction": "slide", "target_frames": [17], "frame_stride": 1},
    {"frame_extraction": "slide", "target_frames": [9, 21], "frame_stride": 10},
    {"frame_extraction": "uniform", "target_frames": [45], "frame_sample": 2},
    {"frame_extraction": "uniform", "target_frames": [1, 21], "frame_sample": 4},
    {"frame_extraction": "uniform", "target_frames": [21], "frame_sample": 1},
    {"frame_extraction": "full", "max_frames": 129, "target_frames": [1]},
    {"frame_extraction": "full", "max_frames": 33, "target_frames": [1]},
    {"frame_extraction": "full", "max_frames": 20, "target_frames": [1]},
)
RATES = (16.0, 18.0, 23.976, 24.0, 25.0, 29.97, 30.0, 48.0, 50.0, 59.94, 60.0, 120.0)
COUNTS = (1, 2, 16, 17, 30, 47, 48, 75, 96, 121, 150, 300, 901)


class Clip:
    """Stands in for a file's decoder: frames of one pixel."""

    def __init__(self, frames: int) -> None:
        self._frames = frames

    def decode(self, video: int) -> Iterator["Clip"]:
        return (self for _ in range(self._frames))

    def to_image(self) -> np.ndarray[Any, Any]:
        return np.zeros((1, 1, 3), np.uint8)

    def close(self) -> None:
        pass


class Source:
    """Stands in for a folder: one clip, already loaded."""

    has_control = False

    def __init__(self, frames: int) -> None:
        self._frames = frames

    def set_bucket_selector(self, _selector: object) -> None:
        pass

    def set_source_and_target_fps(self, _source: object, _target: object) -> None:
        pass

    def __iter__(self) -> Iterator[Any]:
        # As loaded: 32 x 32 is the size that its own bucket has.
        video = [np.zeros((32, 32, 3), np.uint8)] * self._frames
        yield lambda: ("a.mp4", video, "caption", None)


def taken(cut: dict[str, Any], frames: int, folder: Path) -> list[list[int]]:
    from musubi_tuner.dataset.image_video_dataset import VideoDataset  # noqa: PLC0415

    dataset = VideoDataset(
        (32, 32), ".txt", 1, 1, True, False, video_directory=str(folder),
        cache_directory=str(folder), architecture="wan", **{"max_frames": 129, **cut},
    )  # fmt: skip
    # "head" asks the decoder for no more than its longest target.
    is_head = dataset.frame_extraction == "head"
    loaded = min(frames, dataset.datasource.end_frame) if is_head else frames
    dataset.datasource = Source(loaded)
    names = {
        Path(item.latent_cache_path).name.split("_")[1]
        for _key, batch in dataset.retrieve_latent_cache_batches(1)
        for item in batch
    }
    return sorted(
        ([int(part) for part in name.split("-")] for name in names), key=lambda w: w[::-1]
    )


def kept(frames: int, rate: float) -> int:
    from musubi_tuner.dataset import media_utils  # noqa: PLC0415

    with patch.object(media_utils.av, "open", return_value=Clip(frames)):
        return len(media_utils.load_video(__file__, source_fps=rate, target_fps=16.0))


def schema() -> dict[str, list[str]]:
    from musubi_tuner.dataset.config_utils import ConfigSanitizer  # noqa: PLC0415

    asked = ConfigSanitizer()
    return {
        "general": sorted(asked.general_schema),
        "image": sorted(asked.image_dataset_schema),
        "video": sorted(asked.video_dataset_schema),
    }


def main() -> None:
    logging.disable()
    with tempfile.TemporaryDirectory() as folder:
        windows = [
            {"cut": cut, "frames": frames, "taken": taken(cut, frames, Path(folder))}
            for cut in CUTS
            for frames in LENGTHS
        ]
    rates = [
        {"rate": rate, "frames": frames, "kept": kept(frames, rate)}
        for rate in RATES
        for frames in COUNTS
    ]
    lines = {
        "commit": json.dumps(COMMIT),
        "schema": json.dumps(schema()),
        "windows": "[\n" + ",\n".join(map(json.dumps, windows)) + "\n]",
        "rates": "[\n" + ",\n".join(map(json.dumps, rates)) + "\n]",
    }
    body = ",\n".join(f'"{key}": {value}' for key, value in lines.items())
    sys.stdout.write(f"{{\n{body}\n}}\n")


if __name__ == "__main__":
    main()
