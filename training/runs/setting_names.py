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
_SMALL = 1e-3  # smaller numbers are written with an exponent
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


def value_text(value: float | str) -> str:
    """Return a value as users type it, such as `yes`, `50`, `0.01` or `1e-4`."""
    match value:
        case bool():
            return "yes" if value else "no"
        case str():
            return value
        case _ if 0 < abs(value) < _SMALL:
            mantissa, exponent = f"{value:.11e}".split("e")
            return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
        case _:
            return f"{value:.12g}"


def for_experts(values: Mapping[str, str], experts: Sequence[ExpertName]) -> str:
    """Format the experts' values as users type them: as `8` for all, or as `high=8 low=16`.

    The key "" holds the value for every expert without a value of its own.
    """
    if set(values) == {""}:
        return values[""]
    rest = {expert: values[""] for expert in experts if "" in values}
    each = {**rest, **{expert: value for expert, value in values.items() if expert}}
    return " ".join(f"{expert}={value}" for expert, value in each.items())
