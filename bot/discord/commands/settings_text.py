"""The `settings` option of `/train`: any setting as `key=value`, also per expert: `high.rank=8`."""

import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import get_args

from training.errors import RequestError
from training.runs.hyperparameters import (
    ITEM_NAMES,
    LIGHTNING_NAMES,
    SETTING_NAMES,
    Optimizer,
    describe,
    option,
)
from training.runs.lr_schedules import Scheduler
from training.vocabulary import ExpertName, Resolution

NAMES = (*SETTING_NAMES, *ITEM_NAMES, *LIGHTNING_NAMES)
_KEYS = {option(name): name for name in NAMES}
_VALUES = {
    "scheduler": get_args(Scheduler),
    "optimizer": get_args(Optimizer),
    "resolution": get_args(Resolution),
    "fp8": ("yes", "no"),
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
        RequestError: A part is not `key=value`, a key is unknown or given twice.
    """
    given: dict[str, dict[str, str]] = {}
    for part in re.split(f"[{_SEPARATORS}]+", text.strip()):
        if not part:
            continue
        match = _PAIR.fullmatch(part)
        if match is None:
            raise RequestError(f"{part[:60]!r} in settings is not a key=value pair.", _EXAMPLE)
        values = given.setdefault(_name_of(match["key"]), {})
        expert = _PREFIXES.get(match["prefix"] or "", "")
        if expert in values:
            raise RequestError(
                f"settings contains {match['prefix'] or ''}{match['key']} twice.", "Leave one out."
            )
        values[expert] = match["value"]
    return {name: _for_experts(values, experts) for name, values in given.items()}


def complete_settings(typed: str) -> dict[str, str]:
    """Return the whole texts that could continue `typed`, each with what to show for it."""
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
        for known, name in _KEYS.items()
        if key in known
    }


def _name_of(key: str) -> str:
    name = _KEYS.get(option(key.lower()))
    if name is None:
        close = get_close_matches(option(key.lower()), _KEYS, n=1)
        fix = f"Did you mean {close[0]}?" if close else f"Settings: {', '.join(_KEYS)}."
        raise RequestError(f"There is no setting called {key[:60]!r}.", fix)
    return name


def _for_experts(values: dict[str, str], experts: Sequence[ExpertName]) -> str:
    if set(values) == {""}:
        return values[""]
    # A value without an expert is for those that have none of their own.
    rest = {expert: values[""] for expert in experts if "" in values}
    each = {**rest, **{expert: value for expert, value in values.items() if expert}}
    return " ".join(f"{expert}={value}" for expert, value in each.items())
