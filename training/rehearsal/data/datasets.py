"""Reads the dataset TOML of a run with musubi-tuner's schema and refusals."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from training.dataset.config.toml_schema import (
    DatasetKeys,
    GeneralKeys,
    ImageKeys,
    VideoKeys,
    merged,
)
from training.rehearsal.musubi_error import MusubiError


def read_datasets(path: Path) -> list[DatasetKeys]:
    """Return the `[[datasets]]` of a TOML, each with the defaults of `[general]`.

    Raises:
        MusubiError: The file is missing or musubi-tuner would refuse it.
    """
    if not path.is_file():
        raise MusubiError(f"ValueError: file not found: {path}", "Check --dataset_config.")
    try:
        config = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        cause = f"toml.decoder.TomlDecodeError: {error}"
        raise MusubiError(cause, f"Fix the syntax of {path}.") from error
    general = cast("Mapping[str, Any]", config.get("general", {}))
    tables = cast("list[Mapping[str, Any]]", config.get("datasets", []))
    where = "['general']"
    try:
        GeneralKeys.model_validate(general)
        datasets: list[DatasetKeys] = []
        for index, table in enumerate(tables):
            where = f"['datasets'][{index}]"
            datasets.append(_with_media(merged(general, table)))
    except ValidationError as error:
        raise _invalid(error, where) from error
    return datasets


def media_path(dataset: DatasetKeys) -> tuple[Path, bool]:
    """Return a dataset's directory or JSONL file, and whether it is the file."""
    directory, listing = _sources(dataset)
    return Path(listing or directory or ""), listing is not None


def cache_directory(dataset: DatasetKeys) -> Path:
    """Return the folder of a dataset's cache files; by default that of its media."""
    return Path(dataset.cache_directory or _sources(dataset)[0] or "")


def describe(dataset: DatasetKeys) -> dict[str, object]:
    """Return what musubi stores of a dataset in the LoRA's metadata."""
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


def _with_media(dataset: DatasetKeys) -> DatasetKeys:
    """Return the dataset, unless it names no media or musubi-tuner cannot place its caches."""
    directory, listing = _sources(dataset)
    if directory is None and listing is None:
        kind = type(dataset).__name__.replace("Keys", "Dataset")
        raise MusubiError(
            f"AttributeError: '{kind}' object has no attribute 'datasource'",
            "Give each [[datasets]] an image_directory or a video_directory.",
        )
    if directory is None and dataset.cache_directory is None:
        raise MusubiError(
            "AssertionError: cache_directory is required",
            "Add cache_directory beside the JSONL file.",
        )
    return dataset


def _invalid(error: ValidationError, where: str) -> MusubiError:
    first = error.errors()[0]
    if first["type"] == "extra_forbidden":
        text = "extra keys not allowed"
    else:
        text = f"{first['msg'].removeprefix('Value error, ')} for dictionary value"
    return MusubiError(
        f"voluptuous.error.MultipleInvalid: {text} @ data{where}[{first['loc'][0]!r}]",
        "Correct the dataset TOML.",
    )
