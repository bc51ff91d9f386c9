"""NaN in stored tensors, at which training breaks off."""

import math
from pathlib import Path

import numpy as np

from training.files.safetensors_header import read_header


def poison(path: Path) -> None:
    """Fill a tensor of a file with NaN, because the rehearsal reads only a part of each tensor."""
    header = read_header(path)
    (name, *_) = header.tensors
    entry = header.tensors[name]
    content = bytearray(path.read_bytes())
    width = entry.size_bytes // entry.elements
    nan = np.float32(math.nan).tobytes() if width == 4 else b"\xc0\x7f"
    content[entry.start : entry.end] = nan * entry.elements
    path.write_bytes(content)
