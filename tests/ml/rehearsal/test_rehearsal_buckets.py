"""Sizes and frames: samples are cut as musubi-tuner cuts them."""

from pathlib import Path

import pytest

from training.dataset.config.buckets import Size, bucket_of
from training.dataset.config.frame_windows import windows
from training.dataset.config.toml_schema import VideoKeys
from training.rehearsal.data.datasets import read_datasets


@pytest.mark.parametrize(
    ("resolution", "size", "bucket"),
    [
        # The first three were seen in a run of musubi-tuner.
        ((96, 96), (128, 96), (112, 80)),
        ((96, 96), (96, 128), (80, 112)),
        ((96, 96), (160, 160), (96, 96)),
        # These were computed by musubi-tuner's own bucket code.
        ((1280, 720), (1920, 1080), (1280, 720)),
        ((720, 1280), (1080, 1920), (720, 1280)),
        ((960, 544), (1920, 1080), (960, 544)),
        ((960, 544), (1080, 1920), (544, 960)),
    ],
)
def test_a_sample_gets_musubis_bucket(resolution: Size, size: Size, bucket: Size) -> None:
    assert bucket_of(size, resolution) == bucket


def test_small_images_keep_their_size_without_upscaling() -> None:
    assert bucket_of((330, 200), (960, 544), no_upscale=True) == (320, 192)


def test_without_buckets_there_is_one_size() -> None:
    assert bucket_of((100, 400), (960, 544), enabled=False, no_upscale=True) == (960, 544)


@pytest.mark.parametrize(
    ("settings", "frames", "expected"),
    [
        ("target_frames = [1, 9, 18]", 22, [(0, 1), (0, 9), (0, 17)]),
        ('target_frames = [9]\nframe_extraction = "chunk"', 22, [(0, 9), (9, 9)]),
        (
            'target_frames = [9]\nframe_extraction = "chunk"',
            40,
            [(0, 9), (9, 9), (18, 9), (27, 9)],
        ),
        (
            'target_frames = [9]\nframe_extraction = "slide"\nframe_stride = 10',
            40,
            [(0, 9), (10, 9), (20, 9), (30, 9)],
        ),
        (
            'target_frames = [9]\nframe_extraction = "uniform"\nframe_sample = 3',
            40,
            [(0, 9), (15, 9), (31, 9)],
        ),
        (
            'target_frames = [9]\nframe_extraction = "uniform"\nframe_sample = 3',
            22,
            [(0, 9), (6, 9), (13, 9)],
        ),
        ('target_frames = [9]\nframe_extraction = "uniform"', 40, [(0, 9)]),
        ('frame_extraction = "full"', 22, [(0, 21)]),
        ('frame_extraction = "full"\nmax_frames = 33', 40, [(0, 33)]),
        ("target_frames = [81]", 22, []),
    ],
)
def test_frames_are_extracted_as_musubi_does(
    tmp_path: Path, settings: str, frames: int, expected: list[tuple[int, int]]
) -> None:
    config = tmp_path / "dataset.toml"
    config.write_text(f'[[datasets]]\nresolution = 96\nvideo_directory = "videos"\n{settings}\n')

    (dataset,) = read_datasets(config)

    assert isinstance(dataset, VideoKeys)
    assert windows(frames, dataset.extract) == expected
