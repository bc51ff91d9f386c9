"""Trains the stand-in's model; `--hang-at`, `--nan-at` and the like make a step go wrong."""

import argparse
import multiprocessing
import os
import sys
import threading

import torch

from musubi_tuner.dataset import image_video_dataset
from musubi_tuner.training.trainer_base import NetworkTrainer


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    for name in ("output_dir", "output_name", "resume", "training_comment"):
        parser.add_argument(f"--{name}")
    for name, value in {
        "seed": 42,
        "items": 5,
        "max_train_epochs": 3,
        "lr_warmup_steps": 0,
        "save_every_n_epochs": 1,
    }.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    for name in ("hang_at", "nan_at", "vanish_at", "save_every_n_steps"):
        parser.add_argument(f"--{name}", type=int)
    parser.add_argument("--save_state", action="store_true", default=True)
    parser.add_argument("--gradient_accumulation_steps", type=int, default=1)
    parser.add_argument("--max_data_loader_n_workers", type=int, default=0)
    parser.add_argument("--learning_rate", type=float, default=0.1)
    parser.add_argument("--zero_after", type=float, default=2.0)
    parser.add_argument("--resume_from_huggingface", action="store_true")
    parser.add_argument("--with_child", action="store_true")
    return parser.parse_args()


def main() -> None:
    args = parse()
    segments = os.environ.get("PYTORCH_CUDA_ALLOC_CONF", "as usual")
    sys.stdout.write(f"memory of the GPU: {segments}\n")

    def rate_at(done: float) -> float:
        return 0.0 if done >= args.zero_after else 1.0 - done

    args.rate_at = rate_at

    def at_step(step: int, loss: torch.Tensor) -> torch.Tensor:
        if step == args.hang_at:
            threading.Event().wait()
        if step == args.nan_at:
            return loss * float("nan")
        return loss * 0.0 if args.vanish_at and step >= args.vanish_at else loss

    if args.with_child:
        multiprocessing.Process(target=threading.Event().wait, daemon=True).start()
    sys.stdout.write(f"cache files: {image_video_dataset.glob.glob('*_wan')}\n")
    NetworkTrainer(at_step).train(args)


if __name__ == "__main__":
    main()
