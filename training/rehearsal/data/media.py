"""Finds, decodes and crops media as musubi-tuner does, but at a quarter of the width and height.

The rehearsal's VAE needs only the average of each block of 4 x 4 pixels, which is cheap to compute
while decoding.
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
from PIL import Image

from training.dataset.config.buckets import Size, bucket_of
from training.dataset.config.frame_windows import Window, frames_at_rate, windows
from training.dataset.config.toml_schema import DatasetKeys, ImageKeys, VideoKeys
from training.dataset.decoding.colours import Converter, colours_of, tags_of
from training.dataset.media_types import CLIPS, IMAGES
from training.rehearsal.data.datasets import media_path
from training.rehearsal.data.encoders import Pixels
from training.rehearsal.musubi_error import MusubiError

PIXELS_PER_CELL = 4


@dataclass(frozen=True, slots=True)
class MediaSample:
    """An image or clip of a dataset. If `caption` is None, read it from `caption_path`."""

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
    """Scaled frames [t, rows, columns, rgb] to encode, for one cache file.

    Attributes:
        size: The size in the cache file's name and metadata: for an image its original size, for a
            clip the bucket's.
        window: The first frame's index in the clip, and the number of frames; None for an image.
    """

    frames: Pixels
    bucket: Size
    stem: str
    size: Size
    window: Window | None


def find_samples(dataset: DatasetKeys) -> list[MediaSample]:
    """Return a dataset's images or clips, sorted by name.

    As in musubi, images without a caption file are left out. Entries of a JSONL file keep their
    order.
    """
    path, is_listing = media_path(dataset)
    is_image = isinstance(dataset, ImageKeys)
    if is_listing:
        return _from_jsonl(path, is_image=is_image)
    suffixes = IMAGES if is_image else CLIPS
    allowed = suffixes | {suffix.upper() for suffix in suffixes}
    paths = sorted(p for p in path.glob("*") if p.suffix in allowed)
    extension = dataset.caption_extension
    samples = [
        MediaSample(path, None, str(path.with_suffix(extension)) if extension else "")
        for path in paths
    ]
    if is_image and extension:
        return [sample for sample in samples if Path(sample.caption_path).is_file()]
    return samples


def _from_jsonl(path: Path, *, is_image: bool) -> list[MediaSample]:
    key = "image_path" if is_image else "video_path"
    samples: list[MediaSample] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        fields = cast("dict[str, str]", json.loads(line))
        samples.append(MediaSample(Path(fields[key]), fields["caption"], ""))
    return samples


def load_clips(dataset: DatasetKeys, sample: MediaSample) -> Iterator[Clip]:
    """Yield an image, or each window of frames in a clip; nothing if the clip is too short.

    Raises:
        MusubiError: The media cannot be decoded.
    """
    if isinstance(dataset, ImageKeys):
        yield _load_image(dataset, sample)
        return
    frames, bucket = _load_video(dataset, sample.path)
    for start, count in windows(len(frames), dataset.extract):
        frames_of_item = frames[start : start + count]
        # The size in the cache file's name is the bucket's, because musubi measures a clip after
        # scaling it.
        yield Clip(frames_of_item, bucket, sample.path.stem, bucket, (start, count))


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
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            tags = tags_of(stream.codec_context)
            scaler: Converter | None = None
            for frame in frames_at_rate(container.decode(video=0), dataset.source_fps):
                if limit is not None and len(frames) >= limit:
                    break
                if scaler is None:
                    size = frame.width, frame.height
                    bucket = bucket_of(size, dataset.size)
                    _check_size(bucket, path)
                    colours = colours_of(frame, tags)
                    scaler = Converter(
                        colours.rgb_filters(size=_cover(size, bucket), scaler="area")
                    )
                small = cast("Pixels", scaler.convert(frame).to_ndarray())
                frames.append(_crop(small, bucket))
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
    """Return the smallest size that covers the bucket and keeps the aspect ratio.

    The result is in cells of 4 x 4 pixels.
    """
    scale = max(Fraction(bucket[0], original[0]), Fraction(bucket[1], original[1]))
    width, height = (
        max(round(side * scale / PIXELS_PER_CELL), limit // PIXELS_PER_CELL)
        for side, limit in zip(original, bucket, strict=True)
    )
    return width, height


def _crop(pixels: Pixels, bucket: Size) -> Pixels:
    columns, rows = bucket[0] // PIXELS_PER_CELL, bucket[1] // PIXELS_PER_CELL
    top, left = (pixels.shape[0] - rows) // 2, (pixels.shape[1] - columns) // 2
    return pixels[top : top + rows, left : left + columns]
