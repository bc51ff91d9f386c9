"""Finds the alpha of LoRAs from PEFT (in `adapter_config.json`) and Diffusers (in the metadata)."""

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import cast

from training.errors import AdapterError

_PREFIX = "base_model.model."
# Source: LORA_ADAPTER_METADATA_KEY in src/diffusers/loaders/lora_base.py of huggingface/diffusers;
# it holds PEFT's LoraConfig as JSON, with names prefixed by the component (`transformer.r`).
_DIFFUSERS_METADATA = "lora_adapter_metadata"
_CONFIG = "adapter_config.json"  # written by PEFT's save_pretrained


def is_from_peft(keys: Iterable[str]) -> bool:
    """Return whether PEFT saved the file. Keys from PEFT begin with `base_model.model.`."""
    return any(key.startswith(_PREFIX) for key in keys)


def declared_alpha(
    path: Path, metadata: Mapping[str, str], keys: Iterable[str], rank: int
) -> float | None:
    """Return the alpha that PEFT's configuration declares for a file; None if there is none.

    With `use_rslora` PEFT scales by `alpha / sqrt(rank)`. The returned alpha is then multiplied by
    `sqrt(rank)`, so that the usual `alpha / rank` gives the same scale.

    Raises:
        AdapterError: The declared alpha is unusable, or differs between modules.
    """
    config = _object(metadata.get(_DIFFUSERS_METADATA, ""))
    beside = path.with_name(_CONFIG)
    if not config and is_from_peft(keys) and beside.is_file():
        config = _object(beside.read_text("utf-8", errors="replace"))
    if not config:
        return None
    if any(config.get(name) for name in ("alpha_pattern", "rank_pattern")):
        raise AdapterError(
            f"{path.name} declares different alphas or ranks for its modules.",
            "Use a LoRA trained with a single rank and alpha.",
        )
    alpha = config.get("lora_alpha")
    if alpha is None:
        return None
    if not isinstance(alpha, int | float) or not math.isfinite(alpha) or alpha <= 0:
        raise AdapterError(
            f"{path.name} declares an alpha of {str(alpha)[:40]}, but alpha must be a number "
            "above 0.",
            "Use the original file from the trainer.",
        )
    return alpha * math.sqrt(rank) if config.get("use_rslora") else float(alpha)


def _object(text: str) -> dict[str, object]:
    """Parse a JSON object and shorten its keys (`transformer.r` to `r`); {} if it is invalid."""
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(value, dict):
        return {}
    items = cast("dict[str, object]", value).items()
    return {name.rpartition(".")[2]: item for name, item in items}
