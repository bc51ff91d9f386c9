"""Makes the inputs of a training with musubi-tuner's own code; run by its interpreter.

`musubi_inputs.py probe`, `musubi_inputs.py base TASK DTYPE FILE` and
`musubi_inputs.py caches FOLDER ITEMS FRAMES HEIGHT WIDTH`, all three in latent units.
"""

import json
import math
import platform
import sys
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import torch

_DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
_TEXT_TOKENS, _TEXT_WIDTH, _CHANNELS, _VAE_STRIDE = 120, 4096, 16, 8
_MIB = 2**20


def probe() -> None:
    """Print the machine, the versions and whether the 8-bit optimizer takes a step."""
    packages = ("torch", "accelerate", "transformers", "diffusers", "safetensors", "bitsandbytes")
    report: dict[str, object] = {"python": platform.python_version()}
    report |= {name: _version(name) for name in packages}
    report["gpu"], report["gpu_mib"] = "none", 0
    if _DEVICE == "cuda":
        report["gpu"] = torch.cuda.get_device_name(0)
        report["gpu_mib"] = torch.cuda.mem_get_info(0)[1] // _MIB
        report["cuda"] = torch.version.cuda
    try:
        _step_in_8_bit()
        report["adamw8bit"] = ""
    except Exception as error:  # noqa: BLE001 - whatever is wrong, the table names it
        report["adamw8bit"] = f"{type(error).__name__}: {error}"[:300]
    sys.stdout.write(json.dumps(report))


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "none"


def _step_in_8_bit() -> None:
    if _DEVICE == "cpu":
        raise RuntimeError("there is no GPU")
    optimizers: Any = import_module("bitsandbytes.optim")
    weight = torch.nn.Parameter(torch.ones(128, 128, device=_DEVICE))
    optimizer = optimizers.AdamW8bit([weight])
    weight.sum().backward()
    optimizer.step()
    if not bool((weight < 1).all()):
        raise RuntimeError("a step changed nothing")


def base(task: str, dtype: str, file: Path) -> None:
    """Write random weights under the names and in the shapes of a task's model."""
    wanted: Any = import_module("musubi_tuner.wan.configs").WAN_CONFIGS[task]
    model_of: Any = import_module("musubi_tuner.wan.modules.model").WanModel
    with torch.device("meta"):
        model = model_of(
            model_type="i2v" if wanted.i2v else "t2v",
            model_version="2.2" if wanted.v2_2 else "2.1",
            dim=wanted.dim,
            eps=wanted.eps,
            ffn_dim=wanted.ffn_dim,
            freq_dim=wanted.freq_dim,
            in_dim=wanted.in_dim,
            num_heads=wanted.num_heads,
            num_layers=wanted.num_layers,
            out_dim=wanted.out_dim,
            text_len=wanted.text_len,
            attn_mode="torch",
        )
    torch.manual_seed(0)
    filled = {name: _fill(name, t, _DTYPES[dtype]) for name, t in model.state_dict().items()}
    # Write tensor by tensor: safetensors' own function would hold a second copy in main memory.
    streaming: Any = import_module("musubi_tuner.utils.safetensors_utils")
    streaming.mem_eff_save_file(filled, str(file), {"format": "pt"})
    report = {"tensors": len(filled), "parameters": sum(t.numel() for t in filled.values())}
    sys.stdout.write(json.dumps(report))


def _fill(name: str, tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Return values with which activations keep their size through all blocks."""
    if name.endswith("bias"):
        return torch.zeros(tensor.shape, dtype=dtype, device=_DEVICE)
    if tensor.ndim == 1:
        return torch.ones(tensor.shape, dtype=dtype, device=_DEVICE)
    inputs = math.prod(tensor.shape[1:]) if "modulation" not in name else tensor.shape[-1]
    return torch.randn(tensor.shape, dtype=dtype, device=_DEVICE).mul_(inputs**-0.5)


def caches(folder: Path, items: int, frames: int, height: int, width: int) -> None:
    """Write latent and text cache files for this many items, as musubi-tuner's scripts do."""
    torch.manual_seed(0)
    folder.mkdir(parents=True)
    cache_io: Any = import_module("musubi_tuner.dataset.cache_io")
    item_of: Any = import_module("musubi_tuner.dataset.image_video_dataset").ItemInfo
    size = (width * _VAE_STRIDE, height * _VAE_STRIDE)
    is_video = frames > 1
    length = (frames - 1) * 4 + 1
    window = f"_00000-{length:03d}" if is_video else ""
    for number in range(items):
        latents = torch.randn(_CHANNELS, frames, height, width).bfloat16()
        words = torch.randn(_TEXT_TOKENS, _TEXT_WIDTH).mul_(0.1).bfloat16()
        item = item_of(f"item{number}", "noise", size, size, length if is_video else None)
        item.latent_cache_path = str(
            folder / f"item{number}{window}_{size[0]:04d}x{size[1]:04d}_wan.safetensors"
        )
        item.text_encoder_output_cache_path = str(folder / f"item{number}_wan_te.safetensors")
        cache_io.save_latent_cache_wan(item, latents, None, None, None)
        cache_io.save_text_encoder_output_cache_wan(item, words)


def main(arguments: list[str]) -> None:
    match arguments:
        case ["probe"]:
            probe()
        case ["base", task, dtype, file]:
            base(task, dtype, Path(file))
        case ["caches", folder, items, frames, height, width]:
            caches(Path(folder), int(items), int(frames), int(height), int(width))
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
