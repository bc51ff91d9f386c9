"""Finds, decodes and crops images and clips like musubi-tuner, at a quarter of the size.

The stand-in VAE averages 4 x 4 pixels anyway; scaling while decoding makes that cheap.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.error import FFmpegError
from av.video.frame import VideoFrame
from numpy.typing import NDArray
from PIL import Image

from training.dataset.config.buckets import Size, bucket_of
from training.dataset.config.frame_windows import frames_at_rate, windows
from training.dataset.config.toml_schema import DatasetKeys, ImageKeys, VideoKeys
from training.rehearsal.data.datasets import media_path
from training.rehearsal.musubi_error import MusubiError

Pixels = NDArray[np.uint8]
PIXELS_PER_CELL = 4

_IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".avif"}
_VIDEO_SUFFIXES = {".mp4", ".webm", ".avi", ".mkv", ".mov", ".flv", ".wmv", ".m4v", ".mpg", ".mpeg"}


@dataclass(frozen=True, slots=True)
class MediaSample:
    """One image or clip of a dataset, with its caption or the path of it."""

    path: Path
    caption: str | None
    caption_path: str

    def read_caption(self) -> str:
        """Return the caption.

        Raises:
            MusubiError: The caption file is missing.
        """
        if self.caption is not None:
            return self.caption
        try:
            return Path(self.caption_path).read_text(encoding="utf-8").strip()
        except (FileNotFoundError, IsADirectoryError) as error:
            raise MusubiError(
                f"FileNotFoundError: [Errno 2] No such file or directory: '{self.caption_path}'",
                f"Add a caption for {self.path.name}.",
            ) from error


@dataclass(frozen=True, slots=True)
class Clip:
    """Scaled frames [t, rows, columns, rgb] to encode, their bucket and the cache file's stem."""

    frames: Pixels
    bucket: Size
    stem: str
    original: Size
    frame_count: int | None


def find_samples(dataset: DatasetKeys) -> list[MediaSample]:
    """Return the dataset's media, sorted by name; images without a caption file are left out."""
    path, is_listing = media_path(dataset)
    is_image = isinstance(dataset, ImageKeys)
    if is_listing:
        return _from_jsonl(path, is_image=is_image)
    suffixes = _IMAGE_SUFFIXES if is_image else _VIDEO_SUFFIXES
    allowed = suffixes | {suffix.upper() for suffix in suffixes}
    paths = sorted(p for p in _list(path) if p.suffix in allowed)
    extension = dataset.caption_extension
    samples = [
        MediaSample(path, None, str(path.with_suffix(extension)) if extension else "")
        for path in paths
    ]
    if is_image and extension:
        return [sample for sample in samples if Path(sample.caption_path).is_file()]
    return samples


def _list(directory: Path) -> list[Path]:
    return list(directory.iterdir()) if directory.is_dir() else []


def _from_jsonl(path: Path, *, is_image: bool) -> list[MediaSample]:
    key = "image_path" if is_image else "video_path"
    samples: list[MediaSample] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        fields = cast("dict[str, str]", json.loads(line))
        try:
            samples.append(MediaSample(Path(fields[key]), fields["caption"], ""))
        except KeyError as error:
            raise MusubiError(f"KeyError: {error}", f"Correct the lines of {path}.") from error
    return samples


def load_clips(dataset: DatasetKeys, sample: MediaSample) -> Iterator[Clip]:
    """Yield the items of a sample; a clip that is too short has none.

    Raises:
        MusubiError: The media cannot be decoded.
    """
    if isinstance(dataset, ImageKeys):
        yield _load_image(dataset, sample)
        return
    frames, bucket = _load_video(dataset, sample.path)
    for start, count in windows(len(frames), dataset.extract):
        stem = f"{sample.path.stem}_{start:05d}-{count:03d}"
        # musubi measures a video after scaling it, so its file is named by the bucket.
        yield Clip(frames[start : start + count], bucket, stem, bucket, count)


def _load_image(dataset: ImageKeys, sample: MediaSample) -> Clip:
    try:
        with Image.open(sample.path) as image:
            original = image.size
            bucket = bucket_of(
                original,
                dataset.size,
                enabled=dataset.enable_bucket,
                no_upscale=dataset.bucket_no_upscale,
            )
            _check_size(bucket, sample.path)
            cover = _cover(original, bucket)
            image.draft("RGB", cover)
            small = image.convert("RGB").resize(cover, Image.Resampling.BOX)
    except OSError as error:
        raise MusubiError(f"OSError: {error}", f"Replace or remove {sample.path}.") from error
    frames = _crop(np.asarray(small), bucket)[np.newaxis]
    return Clip(frames, bucket, sample.path.stem, original, None)


def _load_video(dataset: VideoKeys, path: Path) -> tuple[Pixels, Size]:
    limit = _frames_needed(dataset)
    frames: list[Pixels] = []
    bucket: Size = (0, 0)
    try:
        with av.open(str(path)) as container:
            container.streams.video[0].thread_type = "AUTO"
            for frame in frames_at_rate(container.decode(video=0), dataset.source_fps):
                if limit is not None and len(frames) >= limit:
                    break
                if not frames:
                    bucket = bucket_of((frame.width, frame.height), dataset.size)
                    _check_size(bucket, path)
                frames.append(_scale(frame, bucket))
    except (FFmpegError, IndexError) as error:
        raise MusubiError(
            f"av.error.InvalidDataError: {error}: '{path}'", f"Replace or remove {path}."
        ) from error
    if not frames:
        raise MusubiError("IndexError: list index out of range", f"{path} has no frames.")
    return np.stack(frames), bucket


def _frames_needed(dataset: VideoKeys) -> int | None:
    extract = dataset.extract
    if extract.mode == "head":
        return max(extract.target_frames)
    return extract.max_frames if extract.mode == "full" else None


def _check_size(bucket: Size, path: Path) -> None:
    if min(bucket) < 2 * PIXELS_PER_CELL:
        raise MusubiError(
            f"ValueError: Image or video size too small: {path}", f"Replace or remove {path}."
        )


def _cover(original: Size, bucket: Size) -> Size:
    """Return the size at which the media covers the bucket, in cells of the stand-in VAE."""
    scale = max(Fraction(bucket[0], original[0]), Fraction(bucket[1], original[1]))
    width, height = (
        max(round(side * scale / PIXELS_PER_CELL), limit // PIXELS_PER_CELL)
        for side, limit in zip(original, bucket, strict=True)
    )
    return width, height


def _scale(frame: VideoFrame, bucket: Size) -> Pixels:
    width, height = _cover((frame.width, frame.height), bucket)
    small = frame.reformat(width=width, height=height, format="rgb24", interpolation="AREA")
    return _crop(cast("Pixels", small.to_ndarray()), bucket)


def _crop(pixels: Pixels, bucket: Size) -> Pixels:
    columns, rows = bucket[0] // PIXELS_PER_CELL, bucket[1] // PIXELS_PER_CELL
    top, left = (pixels.shape[0] - rows) // 2, (pixels.shape[1] - columns) // 2
    return pixels[top : top + rows, left : left + columns]
