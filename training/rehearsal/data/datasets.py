"""Reads the dataset TOML of a run, which has musubi-tuner's schema."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from training.dataset.config.toml_schema import (
    DatasetKeys,
    ImageKeys,
    VideoKeys,
    merged,
)
from training.rehearsal.musubi_error import MusubiError


def read_datasets(path: Path) -> list[DatasetKeys]:
    """Return the `[[datasets]]` of a TOML, each with the defaults of `[general]`.

    The content is not checked again: that was done when the run was created.

    Raises:
        MusubiError: The file is missing.
    """
    if not path.is_file():
        raise MusubiError(f"ValueError: file not found: {path}", "Check --dataset_config.")
    config = tomllib.loads(path.read_text(encoding="utf-8"))
    general = cast("Mapping[str, Any]", config.get("general", {}))
    tables = cast("list[Mapping[str, Any]]", config.get("datasets", []))
    return [merged(general, table) for table in tables]


def media_path(dataset: DatasetKeys) -> tuple[Path, bool]:
    """Return the path of a dataset's media folder or JSONL file, and whether it is a JSONL file."""
    directory, listing = _sources(dataset)
    return Path(listing or directory or ""), listing is not None


def cache_directory(dataset: DatasetKeys) -> Path:
    """Return the folder of a dataset's cache files, which by default is its media folder."""
    return Path(dataset.cache_directory or _sources(dataset)[0] or "")


def describe(dataset: DatasetKeys) -> dict[str, object]:
    """Return the entry that musubi writes into the LoRA's metadata for a dataset."""
    kind = "image" if isinstance(dataset, ImageKeys) else "video"
    described: dict[str, object] = {
        "resolution": list(dataset.size),
        "caption_extension": dataset.caption_extension,
        "batch_size_per_device": dataset.batch_size,
        "num_repeats": dataset.num_repeats,
        "enable_bucket": dataset.enable_bucket,
        "bucket_no_upscale": dataset.enable_bucket and dataset.bucket_no_upscale,
    }
    directory, listing = _sources(dataset)
    if directory is not None:
        described[f"{kind}_directory"] = Path(directory).name
    if listing is not None:
        described[f"{kind}_jsonl_file"] = Path(listing).name
    if isinstance(dataset, VideoKeys):
        extract = dataset.extract
        described |= {
            "frame_extraction": extract.mode,
            "frame_stride": extract.stride,
            "frame_sample": extract.sample,
            "target_frames": list(extract.target_frames),
            "max_frames": extract.max_frames,
            "source_fps": dataset.source_fps,
        }
    return described | {"has_control": False}


def _sources(dataset: DatasetKeys) -> tuple[str | None, str | None]:
    if isinstance(dataset, ImageKeys):
        return dataset.image_directory, dataset.image_jsonl_file
    return dataset.video_directory, dataset.video_jsonl_file
