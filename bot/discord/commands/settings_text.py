"""The `settings` option of `/train`: any setting as `key=value`, or per expert as `high.rank=8`."""

import re
from collections.abc import Sequence
from typing import get_args

from training.catalogue.presets import Preset
from training.errors import RequestError
from training.runs.hyperparameters import Fast, Items, Optimizer, Scheduler, describe
from training.runs.setting_names import KEYS, for_experts, setting_of
from training.vocabulary import ExpertName, Resolution

_VALUES = {
    "scheduler": get_args(Scheduler),
    "optimizer": get_args(Optimizer),
    "resolution": get_args(Resolution),
    "preset": get_args(Preset),
    "items": get_args(Items),
    "fp8": ("yes", "no"),
    "fast": get_args(Fast),
    "force-v2-1-time-embedding": ("yes", "no"),
}
_PREFIXES = {f"{expert}.": expert for expert in get_args(ExpertName)}
_SEPARATORS = " ,;\n\t"
_PAIR = re.compile(r"(?P<prefix>(?:main|high|low)\.)?(?P<key>[\w-]+)[=:](?P<value>.+)")
_EXAMPLE = "Write key=value pairs, such as rank=16 high.rank=8."


def parse_settings(text: str, experts: Sequence[ExpertName]) -> dict[str, str]:
    """Return the settings by name, each as one value or as `high=8 low=16`.

    Args:
        text: What the user typed.
        experts: The experts that the run trains.

    Raises:
        RequestError: A part is not `key=value`, or a key is unknown or given twice.
    """
    given: dict[str, dict[str, str]] = {}
    for part in re.split(f"[{_SEPARATORS}]+", text.strip()):
        if not part:
            continue
        match = _PAIR.fullmatch(part)
        if match is None:
            raise RequestError(f"{part[:60]!r} in settings is not a key=value pair.", _EXAMPLE)
        values = given.setdefault(setting_of(match["key"]), {})
        expert = _PREFIXES.get(match["prefix"] or "", "")
        if expert in values:
            raise RequestError(
                f"settings contains {match['prefix'] or ''}{match['key']} twice.", "Leave one out."
            )
        values[expert] = match["value"]
    return {name: for_experts(values, experts) for name, values in given.items()}


def complete_settings(typed: str) -> dict[str, str]:
    """Return suggestions that complete `typed`, as a dict from full text to label."""
    start = max(typed.rfind(mark) for mark in _SEPARATORS) + 1
    before, last = typed[:start], typed[start:].lower()
    prefix = next((prefix for prefix in _PREFIXES if last.startswith(prefix)), "")
    key, sign, value = last[len(prefix) :].partition("=")
    if sign:
        return {
            f"{before}{prefix}{key}={one}": f"{before}{prefix}{key}={one}"
            for one in _VALUES.get(key, ())
            if value in one
        }
    return {
        f"{before}{prefix}{known}=": f"{before}{prefix}{known}= · {describe(name)}"
        for known, name in KEYS.items()
        if key in known
    }
