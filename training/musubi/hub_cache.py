"""The Hub's cache as Transformers reads it, made of links to files that are fetched already.

musubi-tuner asks for tokenizers by the name of their repository; offline, it finds them here.
"""

import os
from pathlib import Path

from training.catalogue.models import WeightFile


def link_file(cache: Path, weight: WeightFile, commit: str, stored: Path) -> None:
    """Let the cache answer for `weight` with the file at `stored`.

    The trainer asks for `main`, whatever commit the file was pinned to.
    """
    repo = cache / f"models--{weight.repo.replace('/', '--')}"
    link = repo / "snapshots" / commit / weight.file
    link.parent.mkdir(parents=True, exist_ok=True)
    temporary = link.with_name(f".{link.name}.{os.getpid()}.link")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(os.path.relpath(stored, link.parent))
    temporary.replace(link)
    reference = repo / "refs" / "main"
    reference.parent.mkdir(parents=True, exist_ok=True)
    partial = reference.with_name(f".main.{os.getpid()}.partial")
    partial.write_text(commit, "utf-8")
    partial.replace(reference)
