"""Where musubi-tuner writes latents."""

from collections.abc import Mapping
from pathlib import Path


def save_file(tensors: Mapping[str, bytes], path: str, metadata: Mapping[str, str]) -> None:
    with Path(path).open("wb") as file:
        file.writelines(tensors.values())
        if "die" in metadata:
            raise OSError("the disk is full")
