"""Lets musubi-tuner run without a GPU, on models of a few layers; lies on PYTHONPATH in tests only.

What a GPU does by itself is done here by hand: casting weights to the type that is calculated
with. What needs the network, the tokenizers, is replaced. Nothing else is changed.
"""

import functools
import glob
import importlib
import importlib.abc
import importlib.machinery
import json
import os
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

TINY: dict[str, int] = json.loads(os.environ.get("LORABOT_TEST_TINY", "{}"))


def on_cpu(torch: Any) -> None:
    torch.cuda.current_device = lambda: "cpu"
    torch.set_num_threads(1)  # sums in one order, hence the same bytes every time
    functional = torch.nn.functional
    functional.linear = casting(functional.linear)
    functional.conv3d = casting(functional.conv3d)
    norm = functional.layer_norm

    def layer_norm(
        x: Any, shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5
    ) -> Any:
        parameters = (None if p is None else p.to(x.dtype) for p in (weight, bias))
        return norm(x, shape, *parameters, eps)

    functional.layer_norm = layer_norm


def casting(original: Callable[..., Any]) -> Callable[..., Any]:
    def cast(x: Any, weight: Any, bias: Any = None, *rest: Any, **named: Any) -> Any:
        bias = None if bias is None else bias.to(x.dtype)
        return original(x, weight.to(x.dtype), bias, *rest, **named)

    return cast


def without_kernels(extension: Any) -> None:
    torch = importlib.import_module("torch")

    if not extension._has_ops():
        # A torchvision built for a GPU beside a torch that is not; musubi calls none of its ops.
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        KEPT.append(library)


def without_scaling(accelerate: Any) -> None:
    original = accelerate.Accelerator.__init__

    def init(self: Any, *arguments: Any, **named: Any) -> None:
        # There is no fp16 autocast with a loss scale on a CPU.
        if named.get("mixed_precision") == "fp16":
            named["mixed_precision"] = "no"
        original(self, *arguments, **named)

    accelerate.Accelerator.__init__ = init


def tiny_dit(configs: Any) -> None:
    for config in configs.WAN_CONFIGS.values():
        config.update(TINY)


def smaller(name: str, **sizes: int) -> Callable[[Any], None]:
    def patch(module: Any) -> None:
        original = getattr(module, name)

        def small(*arguments: Any, **named: Any) -> Any:
            return original(*arguments, **{**named, **sizes})

        setattr(module, name, small)

    return patch


def tiny_clip(module: Any) -> None:
    torch = importlib.import_module("torch")

    smaller("clip_xlm_roberta_vit_h_14", **CLIP)(module)
    original = module.CLIPModel.visual

    def visual(self: Any, videos: Any) -> Any:
        with torch.amp.autocast("cpu", enabled=False):
            return original(self, videos.to(self.dtype))

    module.CLIPModel.visual = visual


def letters(module: Any) -> None:
    torch = importlib.import_module("torch")

    def init(self: Any, name: str, seq_len: int = 512, **named: Any) -> None:
        self.seq_len = seq_len

    def call(self: Any, texts: Sequence[str], **named: Any) -> tuple[Any, Any]:
        ids = torch.zeros(len(texts), self.seq_len, dtype=torch.long)
        for row, text in zip(ids, texts, strict=True):
            codes = [ord(letter) % 200 + 2 for letter in text[: self.seq_len - 1]] + [1]
            row[: len(codes)] = torch.tensor(codes)
        return ids, (ids > 0).long()

    module.HuggingfaceTokenizer.__init__ = init
    module.HuggingfaceTokenizer.__call__ = call


CLIP = {
    "vision_mlp_ratio": 1,
    "vision_layers": 2,
    "vocab_size": 256,
    "text_dim": 64,
    "text_heads": 2,
    "text_layers": 1,
}
KEPT: list[Any] = []
PATCHES: dict[str, Callable[[Any], None]] = {
    "torch": on_cpu,
    "torchvision.extension": without_kernels,
    "accelerate": without_scaling,
    "musubi_tuner.wan.configs": tiny_dit,
    "musubi_tuner.wan.modules.tokenizers": letters,
    "musubi_tuner.wan.modules.vae": smaller("_video_vae", dim=8),
    "musubi_tuner.wan.modules.t5": smaller(
        "umt5_xxl", vocab_size=256, dim_attn=64, dim_ffn=64, num_heads=2, encoder_layers=1
    ),
    "musubi_tuner.wan.modules.clip": tiny_clip,
}


class Patcher(importlib.abc.MetaPathFinder):
    """Patches a module right after it was imported, so that nothing is imported early."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        patch = PATCHES.get(fullname)
        if patch is None:
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        specs = (finder.find_spec(fullname, path, target) for finder in others)
        spec = next((found for found in specs if found is not None), None)
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            patch(module)

        spec.loader.exec_module = exec_module
        return spec


def in_order(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def found(*arguments: Any, **named: Any) -> Any:
        return sorted(original(*arguments, **named))

    return found


if TINY:
    # The folder's own order would make two runs without the launcher differ.
    glob.glob = in_order(glob.glob)
    sys.meta_path.insert(0, Patcher())
