"""Compares the compiled forward with musubi-tuner's own on tiny models; runs in its environment.

Prints one JSON object. Attention is made in fp32 on both sides: musubi-tuner rounds to bf16 there,
and a difference in the last bit would be rounded up to one of 0.4 %.
"""

# torch and musubi-tuner leave parts of their API untyped.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownLambdaType=false

import importlib
import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch._dynamo.backends.common import aot_autograd
from torch._functorch.partitioners import min_cut_rematerialization_partition

SRC = Path(sys.argv[1]) / "src"
sys.path[:0] = [str(Path(__file__).parents[2]), str(SRC)]
# musubi-tuner's T5 asks for the current GPU when it is imported.
torch.cuda.current_device = lambda: 0

from training.musubi.launcher.fast import attention, graph  # noqa: E402
from training.musubi.launcher.fast.layers import UnsupportedError  # noqa: E402
from training.musubi.launcher.fast.model import FastModel  # noqa: E402

lora_wan: Any = importlib.import_module("musubi_tuner.networks.lora_wan")
wan: Any = importlib.import_module("musubi_tuner.wan.modules.model")
Step = list[Tensor]
GRAPHS: list[list[str]] = []


def attend(qkv: list[Tensor], **_named: Any) -> Tensor:
    q, k, v = (part.transpose(1, 2) for part in qkv)
    qkv.clear()
    return torch.nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).contiguous()


def model_of(version: str, kind: str) -> tuple[Any, Any]:
    torch.manual_seed(0)
    sizes = {"dim": 96, "ffn_dim": 160, "freq_dim": 32, "text_dim": 48, "text_len": 16}
    channels = 16 if kind == "t2v" else 36
    model = wan.WanModel(
        kind, version, in_dim=channels, num_heads=4, num_layers=2, attn_mode="torch", **sizes
    )
    for name, parameter in model.named_parameters():
        if "norm" in name or name.endswith(("bias", "head.weight")):
            mean = 1.0 if "norm" in name and name.endswith("weight") else 0.0
            torch.nn.init.normal_(parameter, mean, 0.1)
    model.requires_grad_(False)
    network = lora_wan.create_arch_network(1.0, 4, 2.0, None, [], model)
    network.apply_to(None, model, apply_text_encoder=False, apply_unet=True)
    for adapter in network.unet_loras:
        torch.nn.init.normal_(adapter.lora_up.weight, std=0.1)
    model.enable_gradient_checkpointing()
    return model.train(), network


def step(model: Any, network: Any, seed: int = 1) -> Step:
    """Return the output, its gradient to the latent, and those of every adapter."""
    torch.manual_seed(seed)
    x, is_i2v = torch.randn(16, 3, 8, 12, requires_grad=True), model.model_type == "i2v"
    network.zero_grad()
    output = model(
        [x],
        t=torch.tensor([500.0]),
        context=[torch.randn(16, 48)],
        seq_len=3 * 4 * 6,
        clip_fea=torch.randn(1, 257, 1280) if is_i2v and model.model_version == "2.1" else None,
        y=[torch.randn(20, 3, 8, 12)] if is_i2v else None,
    )[0]
    output.square().mean().backward()
    gradients: list[Tensor] = [weight.grad.clone() for weight in network.parameters()]
    return [output.detach(), x.grad if x.grad is not None else x, *gradients]


def distances(found: Step, expected: Step) -> dict[str, float]:
    far = [
        float((a - b).norm() / b.norm().clamp(min=1e-12))
        for a, b in zip(found, expected, strict=True)
    ]
    return {"output": far[0], "input_gradient": far[1], "worst_adapter": max(far[2:])}


def families() -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for version in ("2.1", "2.2"):
        for kind in ("t2v", "i2v"):
            model, network = model_of(version, kind)
            expected = step(model, network)
            fast = FastModel(model, lambda _: "attention")
            fast.attach()
            found[f"{version}-{kind}"] = distances(step(model, network), expected)
            fast.detach()
            model.set_time_embedding_v2_1(False)
            again = distances(step(model, network), expected)
            found[f"{version}-{kind}"]["detached"] = max(again.values())
    return found


def planted() -> dict[str, float]:
    """Return the distances with an error of 5 % in one block's modulation."""
    model, network = model_of("2.1", "t2v")
    expected = step(model, network)
    model.blocks[1].modulation.data *= 1.05
    FastModel(model, lambda _: "attention").attach()
    return distances(step(model, network), expected)


def record(module: torch.fx.GraphModule, _inputs: object) -> Callable[..., Any]:
    GRAPHS.append([str(node.target) for node in module.graph.nodes])
    return module.forward


def graphs() -> dict[str, dict[str, list[int]]]:
    """Return how often each graph of a block attends and multiplies, forward and backward."""
    found: dict[str, dict[str, list[int]]] = {"attention": {}, "products": {}}
    operators = ("scaled_dot_product_flash_attention_for_cpu.", "lorabot.linear.")
    for kept in ("attention", "ffn", "everything"):
        GRAPHS.clear()
        model, network = model_of("2.1", "i2v")
        FastModel(model, partial(lambda kept, _index: kept, kept)).attach()
        step(model, network)
        for what, operator in zip(found, operators, strict=True):
            found[what][kept] = [sum(operator in name for name in names) for names in GRAPHS]
    return found


def refused() -> list[str]:
    def reason(change: Callable[[Any, Any], None]) -> str:
        model, network = model_of("2.1", "t2v")
        change(model, network)
        try:
            FastModel(model, lambda _: "attention").attach()
        except UnsupportedError as error:
            return str(error)
        return "nothing"

    def swap(model: Any, _network: Any) -> None:
        model.blocks_to_swap = 1

    def drop(_model: Any, network: Any) -> None:
        network.unet_loras[-1].dropout = 0.1

    return [reason(lambda model, network: None), reason(swap), reason(drop)]


def main() -> None:
    wan.flash_attention = attend
    attention.HALF = (*attention.HALF, torch.float32)
    compiling = torch.compile
    # Eager for the comparison, so that it takes seconds.
    torch.compile = lambda function, **_named: function
    found: dict[str, Any] = {"families": families(), "planted": planted(), "refused": refused()}
    graph.compiled.cache_clear()
    backend = aot_autograd(
        fw_compiler=record, bw_compiler=record, partition_fn=min_cut_rematerialization_partition
    )
    torch.compile = lambda function, fullgraph, dynamic, **_named: compiling(
        function, fullgraph=fullgraph, dynamic=dynamic, backend=backend
    )
    found["graphs"] = graphs()
    print(json.dumps(found))  # noqa: T201


if __name__ == "__main__":
    main()
