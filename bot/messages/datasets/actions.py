"""The actions and labels of the buttons below a dataset."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

DatasetAction = Literal[
    "repaired",
    "original",
    "prefix",
    "captions",
    "remove",
    "remove-now",
    "remove-all",
    "store",
    "store-original",
    "store-prefix",
    "table",
    "leave-out",
    "leave-out-bad",
    "ask-trigger",
    "trigger-only",
    "layout",
    "layout-check",
]
ButtonStyle = Literal["primary", "secondary", "success", "danger"]

LABELS: Mapping[DatasetAction, tuple[str, ButtonStyle]] = MappingProxyType(
    {
        "repaired": ("Use as repaired", "primary"),
        "original": ("Keep original", "secondary"),
        "prefix": ("Prefix the trigger word", "primary"),
        "captions": ("Captions", "secondary"),
        "remove": ("Remove", "danger"),
        "remove-now": ("Remove it", "danger"),
        "remove-all": ("Remove every version", "danger"),
        "store": ("Use as repaired", "success"),
        "store-original": ("Keep original", "secondary"),
        "store-prefix": ("Use with the trigger word prefixed", "primary"),
        "layout": ("Use this layout", "primary"),
        "layout-check": ("Use this layout", "primary"),
        "table": ("Captions", "primary"),
        "leave-out": ("Leave these out", "secondary"),
        "leave-out-bad": ("Leave bad files out", "primary"),
        "ask-trigger": ("Trigger word only", "secondary"),
        "trigger-only": ("Yes, the trigger word only", "danger"),
    }
)
# Only the user who pressed one of these buttons sees the answer.
PRIVATE: frozenset[DatasetAction] = frozenset({"captions", "remove", "table", "ask-trigger"})


def action_named(name: str) -> DatasetAction | None:
    """Return the action called `name`; None if there is none."""
    return next((known for known in LABELS if known == name), None)
