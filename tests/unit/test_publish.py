"""Before an adapter is handed out it is proven to be whole and able to have an effect."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import (
    save_file,  # type: ignore[reportUnknownVariableType]  # its path type is open
)

from training.errors import StageError
from training.stages.publish import check_adapter

MODULES = frozenset({"blocks.0.self_attn.q", "blocks.0.ffn.0"})


def adapter(path: Path, up: float = 0.5, **changes: np.ndarray | None) -> Path:
    tensors: dict[str, np.ndarray] = {}
    for module in MODULES:
        name = f"lora_unet_{module.replace('.', '_')}"
        tensors[f"{name}.lora_down.weight"] = np.ones((2, 4), np.float16)
        tensors[f"{name}.lora_up.weight"] = np.full((4, 2), up, np.float16)
        tensors[f"{name}.alpha"] = np.array(2.0, np.float16)
    for name, value in changes.items():
        tensors.pop(name, None)
        if value is not None:
            tensors[name] = value
    save_file(tensors, path)
    return path


def test_a_whole_adapter_passes(tmp_path: Path) -> None:
    check_adapter(adapter(tmp_path / "a.safetensors"), modules=MODULES, count=2)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"up": 0.0}, "no effect"),
        ({"up": float("nan")}, "not numbers"),
        ({"lora_unet_blocks_0_ffn_0.alpha": None}, "lacks a part"),
        ({"text_encoder.weight": np.ones(1)}, "foreign key"),
        (
            {
                f"lora_unet_blocks_9_ffn_0.{part}": np.ones((1, 1))
                for part in ("lora_down.weight", "lora_up.weight", "alpha")
            },
            "adapts 3 modules",
        ),
    ],
)
def test_an_adapter_with_a_flaw_is_refused_with_the_reason(
    changes: dict[str, np.ndarray | None], said: str, tmp_path: Path
) -> None:
    path = adapter(tmp_path / "a.safetensors", **changes)  # type: ignore[arg-type]

    with pytest.raises(StageError, match=said):
        check_adapter(path, modules=MODULES, count=2)


def test_a_file_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    path = adapter(tmp_path / "a.safetensors")
    path.write_bytes(path.read_bytes()[:-1])

    with pytest.raises(StageError, match="cannot be read"):
        check_adapter(path, modules=MODULES, count=2)


def test_the_number_of_modules_is_checked_where_their_names_are_unknown(tmp_path: Path) -> None:
    path = adapter(tmp_path / "a.safetensors")

    with pytest.raises(StageError, match="where the model has 400"):
        check_adapter(path, modules=None, count=400)
