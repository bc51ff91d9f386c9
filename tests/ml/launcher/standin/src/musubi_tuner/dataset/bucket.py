"""Where musubi-tuner loads a batch from its cache files."""

from dataclasses import dataclass
from typing import Any

import torch


@dataclass
class ItemInfo:
    latent_cache_path: str


class BucketBatchManager:
    def __init__(self, rows: torch.Tensor) -> None:
        self.rows = rows
        self.batch_size = 1
        self.buckets = {(4,): [ItemInfo(f"/caches/{n}_wan.safetensors") for n in range(len(rows))]}
        self.bucket_batch_indices = [((4,), index) for index in range(len(rows))]

    def __len__(self) -> int:
        return len(self.bucket_batch_indices)

    def __getitem__(self, idx: int) -> dict[str, Any]:
        return {"latents": self.rows[idx : idx + 1], "timesteps": None}
