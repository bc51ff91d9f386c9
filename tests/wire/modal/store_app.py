"""An app with one Function, which calls methods of its mounted store for a test."""

import functools
import os
import tempfile
from pathlib import Path
from typing import Any, cast, get_args

import modal

from storage.modal.leases import ModalLeases
from storage.modal.mounts import Mounts
from storage.modal.shared_dict import ModalDict
from storage.modal.store import VolumeStore
from storage.modal.volume_api import Volume
from training.deployment.names import ROOT_VARIABLE
from training.store_keys import Area

AREAS: tuple[Area, ...] = get_args(Area)
app = modal.App(
    "store",
    image=modal.Image.debian_slim(python_version="3.11").add_local_python_source(
        "training", "storage"
    ),
)
VOLUMES = {area: modal.Volume.from_name(f"store-{area}", create_if_missing=True) for area in AREAS}


@app.function(
    volumes={f"/mnt/store/{area}": volume for area, volume in VOLUMES.items()}, max_containers=1
)
@modal.concurrent(max_inputs=16)
def ask(test: str, method: str, arguments: tuple[Any, ...]) -> Any:
    """Call a method of the store that a test has in this container."""
    answer = getattr(store(test), method)(*arguments)
    return list(answer) if method == "walk" else answer


@functools.cache
def store(test: str) -> VolumeStore:
    """Return the store of a test: what another one knew is not known to it."""
    root = Path(os.environ.get(ROOT_VARIABLE, "/"))
    leases = modal.Dict.from_name("store-leases", create_if_missing=True)
    return VolumeStore(
        {area: cast("Volume", VOLUMES[area]) for area in AREAS},
        ModalLeases(ModalDict(leases)),
        mounts=Mounts({area: root / "mnt/store" / area for area in AREAS}, frozenset(AREAS)),
        scratch=Path(tempfile.mkdtemp(prefix=f"{test}-")),
        jitter_seconds=0.0,
    )
