"""The names of all settings of a request, and how values per expert are written as one text."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from training.errors import RequestError
from training.runs.hyperparameters import (
    ITEM_NAMES,
    LIGHTNING_NAMES,
    PRESET_NAME,
    SETTING_NAMES,
    option,
)
from training.vocabulary import ExpertName
from training.wording import did_you_mean

NAMES = (PRESET_NAME, *SETTING_NAMES, *ITEM_NAMES, *LIGHTNING_NAMES)
KEYS: Mapping[str, str] = MappingProxyType({option(name): name for name in NAMES})


def setting_of(key: str) -> str:
    """Return the name of the setting that a user typed, in any case and with - or _.

    Raises:
        RequestError: There is no such setting.
    """
    name = KEYS.get(option(key.strip().lower()))
    if name is None:
        fix = did_you_mean(option(key.lower()), KEYS) or f"Settings: {', '.join(KEYS)}."
        raise RequestError(f"There is no setting called {key[:60]!r}.", fix)
    return name


def for_experts(values: Mapping[str, str], experts: Sequence[ExpertName]) -> str:
    """Format the experts' values as users type them: as `8` for all, or as `high=8 low=16`.

    The key "" holds the value for every expert without a value of its own.
    """
    if set(values) == {""}:
        return values[""]
    rest = {expert: values[""] for expert in experts if "" in values}
    each = {**rest, **{expert: value for expert, value in values.items() if expert}}
    return " ".join(f"{expert}={value}" for expert, value in each.items())
