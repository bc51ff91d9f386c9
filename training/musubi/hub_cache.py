"""Links downloaded files into the Hugging Face cache, where the trainer's libraries look for them.

Stages that download nothing import this module, so, unlike `hub`, it does not import the Hub's
client.
"""

import os
from pathlib import Path

from training.catalogue.models import WeightFile
from training.files.atomic import atomic_symlink, atomic_write


def link_file(cache: Path, weight: WeightFile, commit: str, stored: Path) -> None:
    """Link the file at `stored` into the Hugging Face cache, as if it had been downloaded there.

    The trainer asks for the revision `main`, so the cache must map `main` to `commit`.
    """
    repo = cache / f"models--{weight.repo.replace('/', '--')}"
    link = repo / "snapshots" / commit / weight.file
    atomic_symlink(link, os.path.relpath(stored, link.parent))
    reference = repo / "refs" / "main"
    reference.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(reference, commit.encode())
