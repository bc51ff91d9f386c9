"""The dataset TOML of musubi-tuner: its keys, with their types, defaults and useful ranges.

Source: `ConfigSanitizer` and the parameter classes in `dataset/config_utils.py` of musubi-tuner,
commit 30c658c. The ranges are this project's, because musubi-tuner checks only types: values
outside the ranges would fail later, or leave nothing to train on.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any, Literal, cast, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from training.dataset.config.buckets import Size
from training.dataset.config.frame_windows import Extract, Extraction, longest_4n1

Section = Literal["general", "image", "video"]
LARGEST = 8192  # pixels
SMALLEST = 64  # pixels
LONGEST = 1000  # frames
_MOST_VALUES = 32


@dataclass(frozen=True, slots=True)
class Takes:
    """The values that a key accepts: described in `words`, and for numbers also as a range."""

    words: str
    lowest: float | None = None
    highest: float = 0

    def fits(self, value: Any) -> bool:
        """Return whether a value, which already has the right type, lies in the range."""
        if self.lowest is None:
            return True
        numbers = cast("list[float]", value if isinstance(value, list) else [value])
        in_range = all(self.lowest <= number <= self.highest for number in numbers)
        return 0 < len(numbers) <= _MOST_VALUES and in_range


def _only_float(value: object) -> object:
    # musubi-tuner checks types with voluptuous, which refuses 30 where a float is expected, while
    # pydantic accepts it.
    if not isinstance(value, float):
        raise ValueError("expected float")  # noqa: TRY004 - pydantic reports ValueError only
    return value


_Pair = Annotated[list[int], Field(min_length=2, max_length=2)]
_Text = Annotated[str | None, Takes("text in quotes")]
_Flag = Annotated[bool, Takes("true or false")]
_Count = Annotated[int, Takes(f"a whole number from 1 to {LONGEST}", 1, LONGEST)]
_Number = Annotated[int, Takes("a whole number")]
_Numbers = Annotated[list[int], Takes("a list of whole numbers")]
_Frames = Annotated[
    list[int], Takes(f"a list of whole numbers from 1 to {LONGEST}, such as [1, 21]", 1, LONGEST)
]
_Rate = Annotated[
    Annotated[float, BeforeValidator(_only_float)] | None,
    Takes("a decimal number, such as 16.0", 1, 1000),
]
_Size = Annotated[
    int | _Pair,
    Takes(f"width and height from {SMALLEST} to {LARGEST}, such as [960, 544]", SMALLEST, LARGEST),
]
_Mode = Annotated[Extraction, Takes("one of " + ", ".join(get_args(Extraction)))]


class GeneralKeys(BaseModel):
    """The keys of `[general]`, which each dataset may override."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    resolution: _Size = [960, 544]
    caption_extension: _Text = None
    batch_size: _Count = 1
    num_repeats: _Count = 1
    enable_bucket: _Flag = False
    bucket_no_upscale: _Flag = False

    @property
    def size(self) -> Size:
        given = self.resolution
        return (given, given) if isinstance(given, int) else (given[0], given[1])


class _DatasetKeys(GeneralKeys):
    cache_directory: _Text = None
    control_directory: _Text = None
    fp_latent_window_size: _Number = 9


class ImageKeys(_DatasetKeys):
    """The keys of a `[[datasets]]` table of images."""

    image_directory: _Text = None
    image_jsonl_file: _Text = None
    multiple_target: _Flag = False
    fp_1f_clean_indices: _Numbers = []
    fp_1f_target_index: _Number = 0
    fp_1f_no_post: _Flag = False
    no_resize_control: _Flag = False
    control_resolution: _Size = [960, 544]
    # musubi-tuner still accepts these earlier names of the two keys above.
    flux_kontext_no_resize_control: _Flag = False
    qwen_image_edit_no_resize_control: _Flag = False
    qwen_image_edit_control_resolution: _Size = [960, 544]


class VideoKeys(_DatasetKeys):
    """The keys of a `[[datasets]]` table of clips."""

    video_directory: _Text = None
    video_jsonl_file: _Text = None
    target_frames: _Frames = [1]
    frame_extraction: _Mode = "head"
    frame_stride: _Count = 1
    frame_sample: _Count = 1
    max_frames: _Count = 129
    source_fps: _Rate = None

    @property
    def extract(self) -> Extract:
        """How to cut clips; `target_frames` are rounded down to 4N+1, as in musubi-tuner."""
        # As in musubi-tuner, "uniform" with a single sample is "head".
        is_head = self.frame_extraction == "uniform" and self.frame_sample == 1
        return Extract(
            mode="head" if is_head else self.frame_extraction,
            target_frames=tuple(sorted({longest_4n1(target) for target in self.target_frames})),
            stride=self.frame_stride,
            sample=self.frame_sample,
            max_frames=self.max_frames,
        )


DatasetKeys = ImageKeys | VideoKeys
_SECTIONS: Mapping[Section, type[GeneralKeys]] = MappingProxyType(
    {"general": GeneralKeys, "image": ImageKeys, "video": VideoKeys}
)
KEYS: Mapping[Section, Mapping[str, Takes]] = MappingProxyType(
    {
        section: {
            name: next(part for part in field.metadata if isinstance(part, Takes))
            for name, field in keys.model_fields.items()
        }
        for section, keys in _SECTIONS.items()
    }
)
# Keys that are accepted, but that have no effect on training a Wan LoRA.
WITHOUT_EFFECT = frozenset(
    {
        *("fp_latent_window_size", "fp_1f_clean_indices", "fp_1f_target_index", "fp_1f_no_post"),
        *("no_resize_control", "control_resolution", "flux_kontext_no_resize_control"),
        *("qwen_image_edit_no_resize_control", "qwen_image_edit_control_resolution"),
    }
)


def section_of(table: Mapping[str, Any]) -> Section:
    """Return "video" if a `[[datasets]]` table names clips, else "image"."""
    return "video" if table.keys() & {"video_directory", "video_jsonl_file"} else "image"


def merged(general: Mapping[str, Any], table: Mapping[str, Any]) -> DatasetKeys:
    """Return the keys of a `[[datasets]]` table; those that it lacks come from `[general]`.

    Raises:
        ValidationError: A key is unknown or its value has the wrong type.
    """
    keys = VideoKeys if section_of(table) == "video" else ImageKeys
    return keys.model_validate({**general, **table})


def invalid_keys(section: Section, table: Mapping[str, Any]) -> dict[str, bool]:
    """Return the keys with invalid values; True means that the value has the right type."""
    found: dict[str, bool] = {}
    try:
        _SECTIONS[section].model_validate(table)
    except ValidationError as error:
        for problem in error.errors():
            is_word = problem["type"] == "literal_error" and isinstance(problem["input"], str)
            found[str(problem["loc"][0])] = is_word
    for key, takes in KEYS[section].items():
        if key in table and key not in found and not takes.fits(table[key]):
            found[key] = True
    return found
