"""Measures musubi-tuner's own data loader at full speed: cores and main memory, without a GPU.

`$LORABOT_MUSUBI_PYTHON tests/bench/bench_loader.py --folder DIR` writes cache files of I2V items in
their real shapes with musubi-tuner's own code, and reads them in an endless hurry with its dataset
and as many workers as our trainings have. Training waits for the GPU between two items instead, so
it needs at most this.
"""

import argparse
import os
import shutil
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import psutil
import torch

_WORKERS = 2
_CHANNELS, _MASK_CHANNELS, _TEXT_TOKENS, _TEXT_WIDTH = 16, 4, 512, 4096
_HEIGHT, _WIDTH, _STRIDE = 90, 160, 8  # latents of 720x1280
_MIB, _GIB = 2**20, 2**30
_CONFIG = """
[general]
batch_size = 1
enable_bucket = true

[[datasets]]
video_directory = "{folder}"
cache_directory = "{folder}"
resolution = [{width}, {height}]
target_frames = [{frames}]
"""


def write_items(folder: Path, items: int, frames: int) -> int:
    """Write the cache files of items with this many latent frames; return an item's bytes."""
    cache_io: Any = import_module("musubi_tuner.dataset.cache_io")
    item_of: Any = import_module("musubi_tuner.dataset.image_video_dataset").ItemInfo
    size, length = (_WIDTH * _STRIDE, _HEIGHT * _STRIDE), (frames - 1) * 4 + 1
    shape = (frames, _HEIGHT, _WIDTH)
    for number in range(items):
        item = item_of(f"item{number}", "noise", size, size, length)
        name = f"item{number}_00000-{length:03d}_{size[0]:04d}x{size[1]:04d}_wan.safetensors"
        item.latent_cache_path = str(folder / name)
        item.text_encoder_output_cache_path = str(folder / f"item{number}_wan_te.safetensors")
        latents = torch.randn(_CHANNELS, *shape).bfloat16()
        image = torch.randn(_CHANNELS + _MASK_CHANNELS, *shape).bfloat16()
        cache_io.save_latent_cache_wan(item, latents, None, image, None)
        words = torch.randn(_TEXT_TOKENS, _TEXT_WIDTH).bfloat16()
        cache_io.save_text_encoder_output_cache_wan(item, words)
    return sum(path.stat().st_size for path in folder.iterdir()) // items


def loader_of(folder: Path, frames: int) -> Any:
    """Return the loader of the items, built as musubi-tuner's trainer builds it."""
    config = folder.with_suffix(".toml")
    config.write_text(
        _CONFIG.format(
            folder=folder,
            width=_WIDTH * _STRIDE,
            height=_HEIGHT * _STRIDE,
            frames=(frames - 1) * 4 + 1,
        )
    )
    # musubi-tuner's T5 asks for the current GPU when it is imported.
    torch.cuda.current_device = lambda: 0
    common: Any = import_module("musubi_tuner.training.parser_common")
    wan: Any = import_module("musubi_tuner.wan_train_network")
    args = wan.wan_setup_parser(common.setup_parser_common()).parse_args(
        ["--dataset_config", str(config), "--max_data_loader_n_workers", str(_WORKERS)]
    )
    args.seed = 0
    group, collate, _epoch = wan.WanNetworkTrainer()._build_dataset(args)
    group.set_max_train_steps(10**6)
    return torch.utils.data.DataLoader(
        group,
        batch_size=1,
        shuffle=True,
        collate_fn=collate,
        num_workers=_WORKERS,
        persistent_workers=True,
    )


def family() -> list[psutil.Process]:
    return [psutil.Process(), *psutil.Process().children(recursive=True)]


def held() -> int:
    """Return the bytes of main memory of all processes; shared pages count once."""
    return sum(its.memory_full_info().pss for its in family())


def cpu_seconds() -> float:
    return sum(sum(its.cpu_times()[:2]) for its in family())


def measure(folder: Path, frames: int, items: int, epochs: int) -> str:
    """Read all items a few times; return a line with what that took."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    item_bytes = write_items(folder, items, frames)
    loader = loader_of(folder, frames)
    idle, most = held(), 0
    next(iter(loader))  # starts the workers
    began, cpu = time.monotonic(), cpu_seconds()
    for _ in range(epochs):
        for number, _batch in enumerate(loader):
            if number % 5 == 0:
                most = max(most, held())
    seconds, used = time.monotonic() - began, cpu_seconds() - cpu
    count = items * epochs
    return (
        f"{(frames - 1) * 4 + 1} frames of 720x1280, {item_bytes / _MIB:.1f} MiB each: "
        f"{seconds / count * 1000:.0f} ms and {used / count * 1000:.0f} ms of a core an item, "
        f"{used / seconds:.2f} cores; {most / _GIB:.2f} GiB with {_WORKERS} workers, "
        f"{idle / _GIB:.2f} GiB before"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--items", type=int, default=60)
    parser.add_argument("--epochs", type=int, default=5)
    options = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:_WORKERS])
    for frames in (1, 21):
        line = measure(options.folder / f"{frames}", frames, options.items, options.epochs)
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
