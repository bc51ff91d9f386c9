"""Samples of one size and a report of them, and the guide's TOML."""

from training.dataset.report import Report, Sample

GUIDE = """
[general]
caption_extension = ".txt"
enable_bucket = true
bucket_no_upscale = true

[[datasets]]
image_directory = "/datasets/datasets/annika/images"
cache_directory = "/datasets/datasets/annika/images/cache"
resolution = [720, 1280]
batch_size = 1
num_repeats = 1

[[datasets]]
video_directory = "/datasets/datasets/annika/videos"
cache_directory = "/datasets/datasets/annika/videos/cache_1"
resolution = [1280, 720]
batch_size = 1
num_repeats = 1
frame_extraction = "head"
target_frames = [1, 21]

[[datasets]]
video_directory = "/datasets/datasets/annika/videos"
cache_directory = "/datasets/datasets/annika/videos/cache_2"
resolution = [960, 544]
batch_size = 1
num_repeats = 1
frame_extraction = "uniform"
target_frames = [45]
frame_sample = 2
"""


def image(name: str = "000", width: int = 1024, height: int = 1024) -> Sample:
    return Sample(
        name=f"images/{name}.png", source=f"{name}.png", kind="image", caption="a",
        sha256="0", width=width, height=height,
    )  # fmt: skip


def clip(frames: int, name: str = "001", width: int = 1280, height: int = 720) -> Sample:
    return Sample(
        name=f"videos/{name}.mp4", source=f"{name}.mp4", kind="video", caption="a", sha256="0",
        width=width, height=height, frames=frames, fps=16.0, frames_16fps=frames,
    )  # fmt: skip


def report(*samples: Sample) -> Report:
    return Report(version="v", samples=samples, findings=())
