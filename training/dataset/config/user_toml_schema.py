"""Every key that musubi-tuner allows in a dataset TOML, with the values that make sense.

Source: `ConfigSanitizer` in `dataset/config_utils.py` of musubi-tuner, commit 30c658c. Ranges are
this project's: the trainer checks types only, and fails or trains nothing later.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, cast, get_args

from training.dataset.config.frame_windows import Extraction

Section = Literal["general", "image", "video"]
LARGEST = 8192  # pixels
SMALLEST = 64  # pixels
LONGEST = 1000  # frames
_MANY = 32


@dataclass(frozen=True, slots=True)
class Value:
    """What a key takes: in words, by type as the trainer asks it, and in a range that works."""

    words: str
    has_type: Callable[[Any], bool]
    is_sane: Callable[[Any], bool] = lambda _value: True


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _are_whole(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_whole, cast(list[object], value)))


def _is_size(value: Any) -> bool:
    return _is_whole(value) or (_are_whole(value) and len(value) == 2)


def _within(value: Any, low: int, high: int) -> bool:
    numbers = cast(list[int], value if isinstance(value, list) else [value])
    return 0 < len(numbers) <= _MANY and all(low <= number <= high for number in numbers)


TEXT = Value("a text in quotes", lambda value: isinstance(value, str))
FLAG = Value("true or false", lambda value: isinstance(value, bool))
COUNT = Value("a whole number from 1", _is_whole, lambda value: _within(value, 1, LONGEST))
NUMBER = Value("a whole number", _is_whole)
NUMBERS = Value("a list of whole numbers", _are_whole)
FRAMES = Value(
    f"a list of whole numbers from 1 to {LONGEST}, such as [1, 21]",
    _are_whole,
    lambda value: _within(value, 1, LONGEST),
)
RATE = Value(
    "a number with a point, such as 16.0",
    lambda value: isinstance(value, float),
    lambda value: 1 <= value <= 1000,
)
SIZE = Value(
    f"width and height from {SMALLEST} to {LARGEST}, such as [960, 544]",
    _is_size,
    lambda value: _within(value, SMALLEST, LARGEST),
)
MODE = Value(
    "one of " + ", ".join(get_args(Extraction)),
    lambda value: isinstance(value, str),
    lambda value: value in get_args(Extraction),
)

GENERAL: Mapping[str, Value] = MappingProxyType(
    {
        "caption_extension": TEXT,
        "batch_size": COUNT,
        "num_repeats": COUNT,
        "resolution": SIZE,
        "enable_bucket": FLAG,
        "bucket_no_upscale": FLAG,
    }
)
# The trainer renames these old keys of other models.
_OLD: Mapping[str, Value] = MappingProxyType(
    {
        "flux_kontext_no_resize_control": FLAG,
        "qwen_image_edit_no_resize_control": FLAG,
        "qwen_image_edit_control_resolution": SIZE,
    }
)
_SHARED: Mapping[str, Value] = MappingProxyType(
    {
        **GENERAL,
        "cache_directory": TEXT,
        "control_directory": TEXT,
        "fp_latent_window_size": NUMBER,
    }
)
KEYS: Mapping[Section, Mapping[str, Value]] = MappingProxyType(
    {
        "general": GENERAL,
        "image": {
            **_SHARED,
            **_OLD,
            "image_directory": TEXT,
            "image_jsonl_file": TEXT,
            "multiple_target": FLAG,
            "fp_1f_clean_indices": NUMBERS,
            "fp_1f_target_index": NUMBER,
            "fp_1f_no_post": FLAG,
            "no_resize_control": FLAG,
            "control_resolution": SIZE,
        },
        "video": {
            **_SHARED,
            "video_directory": TEXT,
            "video_jsonl_file": TEXT,
            "target_frames": FRAMES,
            "frame_extraction": MODE,
            "frame_stride": COUNT,
            "frame_sample": COUNT,
            "max_frames": COUNT,
            "source_fps": RATE,
        },
    }
)
# Allowed, and without any effect on a Wan LoRA that learns from files with captions.
WITHOUT_EFFECT = frozenset(
    {
        *_OLD,
        "fp_latent_window_size",
        "fp_1f_clean_indices",
        "fp_1f_target_index",
        "fp_1f_no_post",
        "no_resize_control",
        "control_resolution",
    }
)
# Allowed by the trainer, and not possible here.
REFUSED: Mapping[str, str] = MappingProxyType(
    {
        "image_jsonl_file": "it lists files by their paths on your own machine",
        "video_jsonl_file": "it lists files by their paths on your own machine",
        "control_directory": "it trains on pairs of pictures, which these models do not take",
        "multiple_target": "it trains on sets of pictures, which these models do not take",
    }
)
