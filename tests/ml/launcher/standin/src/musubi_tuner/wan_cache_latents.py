"""Caches two images and a clip of two windows into the given folder."""

import sys

from musubi_tuner.cache_latents import Dataset, Item, encode_datasets


def main() -> None:
    folder, *words = sys.argv[1:]
    images = [
        [Item(f"/media/{name}.png", None, f"{folder}/{name}_0064x0064_wan.safetensors")]
        for name in ("a_00000-009", "b")
    ]
    windows = [
        [Item(f"/media/clip_{at:05d}-009.mp4", 9, f"{folder}/clip_{at:05d}-009_wan.safetensors")]
        for at in (0, 9)
    ]
    datasets = [Dataset(["a", "b"], images), Dataset(["clip"], windows)]
    encode_datasets(datasets, dict.fromkeys(words, "1"))


if __name__ == "__main__":
    main()
