"""What files of a run look like: names, keys, types and metadata keys, but no values."""

import json
from pathlib import Path
from typing import Any

from tests.musubi.checkout import Checkout
from training.catalogue.models import Model
from training.files.safetensors_header import read_header
from training.files.seal import SEAL
from training.rehearsal.__main__ import main
from training.rehearsal.model.weights import Role, write_weights

SNAPSHOT = Path(__file__).with_name("musubi-layouts.json")


def read_snapshot() -> dict[str, Any]:
    """Return the layouts that musubi-tuner was seen to write."""
    return json.loads(SNAPSHOT.read_text("utf-8"))


def describe_caches(folder: Path) -> dict[str, Any]:
    """Return every cache file of a folder of datasets."""
    return {
        path.relative_to(folder).as_posix(): describe_file(path)
        for path in sorted(folder.glob("*/*.safetensors"))
    }


def describe_run(folder: Path) -> dict[str, Any]:
    """Return every checkpoint and state of a training."""
    found: dict[str, Any] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix == ".safetensors":
            found[path.name] = describe_file(path)
        elif path.is_dir() and path.name.endswith("-state"):
            found[path.name] = describe_state(path)
    return found


def describe_state(folder: Path) -> dict[str, Any]:
    """Return the files of a state, its tensors and the keys of its record."""
    record = json.loads((folder / "training_state.json").read_text("utf-8"))
    return {
        "files": sorted(path.name for path in folder.iterdir()),
        "model": describe_file(folder / "model.safetensors"),
        "record": sorted(record),
        "at": {name: record[name] for name in ("epoch", "batch", "step", "reason")},
    }


def rehearse_caches(checkout: Checkout, model: Model, folder: Path) -> None:
    """Fill caches as a rehearsal does, of media and weights that are written here."""
    checkout.write_media()
    roles: dict[Role, Path | None] = {
        "vae": checkout.weights.vae,
        "t5": checkout.weights.t5,
        "clip": checkout.weights.clip,
    }
    for role, path in roles.items():
        if path is not None:
            write_weights(path, role=role, seed="base")
    for command in (checkout.cache_latents(model, folder), checkout.cache_text(folder)):
        assert main([command.script, *command.arguments()], {}) == 0


def _shape(name: str, shape: tuple[int, ...]) -> list[int | str]:
    # Two tokenizers find different numbers of tokens in a caption.
    return ["tokens", *shape[1:]] if name.startswith("varlen_") else [*shape]


def describe_file(path: Path) -> dict[str, Any]:
    """Return the tensors of a file as type and shape, and the keys of its metadata but our own."""
    header = read_header(path)
    tensors = {name: f"{t.dtype} {_shape(name, t.shape)}" for name, t in header.tensors.items()}
    return {
        "tensors": dict(sorted(tensors.items())),
        "metadata": sorted({*header.metadata} - {SEAL}),
    }
