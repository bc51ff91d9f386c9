"""Measures encoding a clip with the Wan VAE on this GPU, with random weights of the real shapes.

`LORABOT_MUSUBI_DIR=… python -m tests.bench.bench_vae`, or by its path where only torch, einops and
safetensors are installed. Prints the versions that decide about 3-D convolutions in 16 bit.
"""

import argparse
import importlib.util
import os
import time
from pathlib import Path
from typing import Any

import torch


def vae_module(checkout: Path) -> Any:
    """Return musubi-tuner's VAE, without the packages around it."""
    path = checkout / "src/musubi_tuner/wan/modules/vae.py"
    spec = importlib.util.spec_from_file_location("wan_vae", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def encoder(checkout: Path) -> Any:
    """Return a VAE on the GPU in bf16, as musubi-tuner uses it for caching, with random weights."""
    torch.manual_seed(0)
    vae = vae_module(checkout).WanVAE_(
        dim=96,
        z_dim=16,
        dim_mult=[1, 2, 4, 4],
        num_res_blocks=2,
        attn_scales=[],
        temperal_downsample=[False, True, True],
    )
    return vae.eval().requires_grad_(False).to("cuda", torch.bfloat16)


def measure(vae: Any, frames: int, height: int, width: int) -> tuple[float, float]:
    """Return the seconds and the peak GiB of one encoding."""
    clip = torch.rand(1, 3, frames, height, width, device="cuda", dtype=torch.bfloat16) * 2 - 1
    scale = [torch.zeros(16, device="cuda"), torch.ones(16, device="cuda")]
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    began = time.perf_counter()
    with torch.amp.autocast(device_type="cuda", dtype=torch.bfloat16), torch.no_grad():
        latents = vae.encode(clip, scale)
    torch.cuda.synchronize()
    seconds = time.perf_counter() - began
    assert latents.shape == (1, 16, (frames - 1) // 4 + 1, height // 8, width // 8)
    assert torch.isfinite(latents).all()
    return seconds, torch.cuda.max_memory_allocated() / 2**30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", nargs="+", default=["1x720x1280", "21x720x1280", "45x720x1280"])
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    gpu = torch.cuda.get_device_name()
    print(f"{gpu}, torch {torch.__version__}, cuDNN {torch.backends.cudnn.version()}")  # noqa: T201
    vae = encoder(Path(os.environ["LORABOT_MUSUBI_DIR"]))
    for size in options.sizes:
        frames, height, width = map(int, size.split("x"))
        for repeat in range(options.repeats):
            seconds, gib = measure(vae, frames, height, width)
            label = "first" if repeat == 0 else f"repeat {repeat}"
            print(f"{size} {label}: {seconds:.2f} s, peak {gib:.1f} GiB")  # noqa: T201


if __name__ == "__main__":
    main()
