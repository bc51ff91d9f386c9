"""Caches three captions in two batches."""

import sys

from musubi_tuner import cache_text_encoder_outputs
from musubi_tuner.cache_latents import Dataset, Item


def main() -> None:
    folder = sys.argv[1]
    items = [
        Item(f"/media/{name}.png", None, f"{folder}/{name}_wan_te.safetensors") for name in "abc"
    ]
    dataset = Dataset(["a", "b", "c"], [items[:2], items[2:]])
    cache_text_encoder_outputs.process_text_encoder_batches(1, True, 16, datasets=[dataset])


if __name__ == "__main__":
    main()
