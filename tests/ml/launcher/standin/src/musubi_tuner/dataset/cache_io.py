"""Where musubi-tuner writes latents."""

import json
from collections.abc import Mapping
from pathlib import Path


def save_file(tensors: Mapping[str, bytes], path: str, metadata: Mapping[str, str]) -> None:
    with Path(path).open("wb") as file:
        file.write(_header(tensors, metadata))
        file.writelines(tensors.values())
        if "die" in metadata:
            raise OSError("the disk is full")


def _header(tensors: Mapping[str, bytes], metadata: Mapping[str, str]) -> bytes:
    at = 0
    entries: dict[str, object] = {"__metadata__": dict(metadata)}
    for name, data in tensors.items():
        offsets = [at, at + len(data)]
        entries[name] = {"dtype": "U8", "shape": [len(data)], "data_offsets": offsets}
        at += len(data)
    text = json.dumps(entries).encode()
    return len(text).to_bytes(8, "little") + text
