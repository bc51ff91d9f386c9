"""Reads musubi-tuner's dataset TOML: `[general]` defaults and one `[[datasets]]` each."""

import json
import logging
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from training.rehearsal.musubi_error import MusubiError

logger = logging.getLogger(__name__)

_TEMPORAL_STRIDE = 4


def _only_float(value: object) -> object:
    if not isinstance(value, float):
        raise ValueError("expected float")  # noqa: TRY004 - pydantic reports ValueError only
    return value


_Pair = Annotated[list[int], Field(min_length=2, max_length=2)]


class _General(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    resolution: int | _Pair | None = None
    caption_extension: str | None = None
    batch_size: int | None = None
    num_repeats: int | None = None
    enable_bucket: bool | None = None
    bucket_no_upscale: bool | None = None


_Section = TypeVar("_Section", bound=_General)


class _Common(_General):
    cache_directory: str | None = None
    control_directory: str | None = None
    fp_latent_window_size: int | None = None


class _Images(_Common):
    image_directory: str | None = None
    image_jsonl_file: str | None = None
    multiple_target: bool | None = None
    fp_1f_clean_indices: list[int] | None = None
    fp_1f_target_index: int | None = None
    fp_1f_no_post: bool | None = None
    no_resize_control: bool | None = None
    control_resolution: int | _Pair | None = None


class _Videos(_Common):
    video_directory: str | None = None
    video_jsonl_file: str | None = None
    target_frames: list[int] | None = None
    frame_extraction: str | None = None
    frame_stride: int | None = None
    frame_sample: int | None = None
    max_frames: int | None = None
    source_fps: Annotated[float, BeforeValidator(_only_float)] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """One `[[datasets]]` entry with all defaults filled in; sizes are (width, height)."""

    is_image: bool
    directory: str | None
    jsonl_file: str | None
    cache_directory: str | None
    resolution: tuple[int, int]
    caption_extension: str | None
    batch_size: int
    num_repeats: int
    enable_bucket: bool
    bucket_no_upscale: bool
    target_frames: tuple[int, ...]
    frame_extraction: str
    frame_stride: int
    frame_sample: int
    max_frames: int
    source_fps: float | None

    def describe(self) -> dict[str, object]:
        """Return what musubi stores of a dataset in the adapter's metadata."""
        kind = "image" if self.is_image else "video"
        described: dict[str, object] = {
            "resolution": list(self.resolution),
            "caption_extension": self.caption_extension,
            "batch_size_per_device": self.batch_size,
            "num_repeats": self.num_repeats,
            "enable_bucket": self.enable_bucket,
            "bucket_no_upscale": self.bucket_no_upscale,
        }
        if self.directory is not None:
            described[f"{kind}_directory"] = Path(self.directory).name
        if self.jsonl_file is not None:
            described[f"{kind}_jsonl_file"] = Path(self.jsonl_file).name
        if not self.is_image:
            described |= {
                "frame_extraction": self.frame_extraction,
                "frame_stride": self.frame_stride,
                "frame_sample": self.frame_sample,
                "target_frames": list(self.target_frames),
                "max_frames": self.max_frames,
                "source_fps": self.source_fps,
            }
        return described | {"has_control": False}


def read_datasets(path: Path) -> list[Dataset]:
    """Return the datasets of a TOML or JSON config.

    Raises:
        MusubiError: The file is absent or not as musubi-tuner wants it.
    """
    config = _parse(path)
    if unknown := config.keys() - {"general", "datasets"}:
        raise _invalid(f"extra keys not allowed @ data['{min(unknown)}']")
    general = _validated(_General, config.get("general", {}), "['general']")
    entries = cast("list[dict[str, Any]]", config.get("datasets", []))
    datasets = [_dataset(entry, index, general) for index, entry in enumerate(entries)]
    caches = [dataset.cache_directory for dataset in datasets]
    if len(set(caches)) != len(caches):
        raise MusubiError(
            "ValueError: cache directory should be unique for each dataset (note that cache "
            "directory is image/video directory if not specified)",
            "Give each [[datasets]] its own cache_directory.",
        )
    return datasets


def _parse(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise MusubiError(f"ValueError: file not found: {path}", "Check --dataset_config.")
    text = path.read_text(encoding="utf-8")
    try:
        if path.suffix.lower() == ".json":
            return cast("dict[str, Any]", json.loads(text))
        if path.suffix.lower() == ".toml":
            return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise MusubiError(
            f"toml.decoder.TomlDecodeError: {error}", f"Correct the file {path}."
        ) from error
    except ValueError as error:
        raise MusubiError(
            f"json.decoder.JSONDecodeError: {error}", f"Correct the file {path}."
        ) from error
    raise MusubiError(
        f"ValueError: not supported config file format: {path}", "Use a .toml or .json file."
    )


def _dataset(entry: dict[str, Any], index: int, general: _General) -> Dataset:
    where = f"['datasets'][{index}]"
    if "video_directory" in entry or "video_jsonl_file" in entry:
        section = _validated(_Videos, entry, where)
    else:
        section = _validated(_Images, entry, where)
    # As in musubi: a key of the dataset wins over the same key of [general].
    set_keys = general.model_dump(exclude_none=True) | section.model_dump(exclude_none=True)
    is_image = "image_directory" in entry or "image_jsonl_file" in entry
    kind = "image" if is_image else "video"
    directory, jsonl_file = set_keys.get(f"{kind}_directory"), set_keys.get(f"{kind}_jsonl_file")
    if directory is None and jsonl_file is None:
        raise MusubiError(
            "AttributeError: 'VideoDataset' object has no attribute 'datasource'",
            f"Give dataset {index} an image_directory or video_directory.",
        )
    if "control_directory" in set_keys:
        raise MusubiError(
            "ValueError: The rehearsal has no control_directory.", "Leave control_directory out."
        )
    return Dataset(
        is_image=is_image,
        directory=directory,
        jsonl_file=jsonl_file,
        cache_directory=set_keys.get("cache_directory", directory),
        resolution=_pair(set_keys.get("resolution", [960, 544])),
        caption_extension=set_keys.get("caption_extension"),
        batch_size=set_keys.get("batch_size", 1),
        num_repeats=set_keys.get("num_repeats", 1),
        enable_bucket=set_keys.get("enable_bucket", False),
        bucket_no_upscale=set_keys.get("enable_bucket", False)
        and set_keys.get("bucket_no_upscale", False),
        target_frames=_round_frames(set_keys.get("target_frames", [1])),
        frame_extraction=_extraction(set_keys),
        frame_stride=set_keys.get("frame_stride", 1),
        frame_sample=set_keys.get("frame_sample", 1),
        max_frames=set_keys.get("max_frames", 129),
        source_fps=set_keys.get("source_fps"),
    )


def _pair(value: int | list[int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def round_frames(frames: int) -> int:
    """Return the largest 4 n + 1 that is at most `frames`."""
    return (frames - 1) // _TEMPORAL_STRIDE * _TEMPORAL_STRIDE + 1


def _round_frames(wanted: list[int]) -> tuple[int, ...]:
    rounded = sorted({round_frames(frames) for frames in wanted})
    if rounded != sorted(set(wanted)):
        logger.warning("target_frames are rounded to %s", rounded)
    return tuple(rounded)


def _extraction(set_keys: dict[str, Any]) -> str:
    extraction = str(set_keys.get("frame_extraction", "head"))
    if extraction == "uniform" and set_keys.get("frame_sample", 1) == 1:
        logger.warning(
            "frame_sample is set to 1 for frame_extraction=uniform. "
            "frame_extraction is changed to head."
        )
        return "head"
    return extraction


def _validated(kind: type[_Section], values: object, where: str) -> _Section:
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        text = {"extra_forbidden": "extra keys not allowed"}.get(first["type"])
        if text is None:
            text = f"{first['msg'].removeprefix('Value error, ')} for dictionary value"
        keys = "".join(f"[{key!r}]" for key in first["loc"][:1])
        raise _invalid(f"{text} @ data{where}{keys}") from error


def _invalid(text: str) -> MusubiError:
    return MusubiError(f"voluptuous.error.MultipleInvalid: {text}", "Correct the dataset config.")
