"""A `WanModel` with the real shapes and random weights, and adapters on it."""

# torch and musubi-tuner leave parts of their API untyped.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

import importlib
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

_DIM, _FFN, _HEADS = 5120, 13824, 40
_RANK = 24
_WAN = "musubi_tuner.wan.modules.model"
_QUANTIZING = "musubi_tuner.modules.fp8_optimization_utils"
_FP8 = torch.float8_e4m3fn
_SCALE_BLOCK = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A base model, with its weights in the precision of the default flags."""

    version: str
    kind: str
    dtype: torch.dtype
    is_scaled: bool


FAMILIES = {
    f"{version}-{kind}": Family(
        version="2.1" if version == "wan21" else "2.2",
        kind=kind,
        dtype=torch.bfloat16 if version == "wan21" else torch.float16,
        is_scaled=version == "wan22",
    )
    for version in ("wan21", "wan22")
    for kind in ("t2v", "i2v")
}


def model_of(family: Family, layers: int, device: str) -> Any:
    """Return a `WanModel` with random weights, quantized as musubi-tuner does for the family."""
    with _imported("accelerate").init_empty_weights():
        model = _imported(_WAN).WanModel(
            model_type=family.kind,
            model_version=family.version,
            in_dim=16 if family.kind == "t2v" else 36,
            dim=_DIM,
            ffn_dim=_FFN,
            num_heads=_HEADS,
            num_layers=layers,
            attn_mode="torch",
        )
    weights: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters():
        weights.update(_random(name, parameter, family, device))
    if family.is_scaled:
        model.to(family.dtype)
        _imported(_QUANTIZING).apply_fp8_monkey_patch(model, weights)
    model.load_state_dict(weights, strict=True, assign=True)
    model.requires_grad_(False)
    model.enable_gradient_checkpointing()
    return model.train()


def _random(name: str, like: Tensor, family: Family, device: str) -> dict[str, Tensor]:
    mean = 1.0 if "norm" in name and name.endswith("weight") else 0.0
    # With this standard deviation, 1/sqrt(5120), a layer's output is about as large as its input.
    value = torch.empty(like.shape, device=device, dtype=family.dtype).normal_(mean, 0.014)
    is_frozen_product = (
        name.startswith("blocks.")
        and name.endswith(".weight")
        and not any(key in name for key in _imported(_WAN).FP8_OPTIMIZATION_EXCLUDE_KEYS)
    )
    if not family.is_scaled:
        return {name: value.to(_FP8)}
    if not is_frozen_product:
        return {name: value}
    quantize = _imported(_QUANTIZING).quantize_weight
    weight, scale = quantize(name, value, _FP8, 448.0, -448.0, "block", _SCALE_BLOCK)
    return {name: weight, name.replace(".weight", ".scale_weight"): scale.to(family.dtype)}


def network_of(model: Any, device: str) -> Any:
    """Return adapters on every layer that musubi-tuner trains, with weights that are not zero."""
    network = _imported("musubi_tuner.networks.lora_wan").create_arch_network(
        1.0, _RANK, _RANK, None, [], model
    )
    network.apply_to(None, model, apply_text_encoder=False, apply_unet=True)
    network.to(device)
    for adapter in network.unet_loras:
        torch.nn.init.normal_(adapter.lora_up.weight, std=0.01)
    return network


# The result is `Any`, because musubi-tuner is not installed where this is type-checked.
def _imported(name: str) -> Any:
    return importlib.import_module(name)
