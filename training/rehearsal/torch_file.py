"""Writes files that `torch.load` can read, without importing torch; only for text and integers."""

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path

from training.files.atomic import atomic_file
from training.files.zip_format import member


def write_torch_file(target: Path, content: Mapping[str, str | int]) -> None:
    """Write `content` in the format of `torch.save`; equal content gives equal bytes."""
    members = {
        "data.pkl": pickle.dumps(dict(content), protocol=2),
        "byteorder": b"little",
        "version": b"3\n",
    }
    with atomic_file(target) as stream, zipfile.ZipFile(stream, "w") as archive:
        for name, data in members.items():
            archive.writestr(member(f"archive/{name}"), data)
