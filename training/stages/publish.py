"""publish: prove that an expert's checkpoints are whole and can have an effect."""

import json
from pathlib import Path

import numpy as np

from training import layout
from training.errors import StageError
from training.merge.hashing import file_sha256
from training.stage import StageContext, StageResult
from training.tensor_header import TensorHeader, read_header

_PREFIX = "lora_unet_"
_PARTS = ("lora_down.weight", "lora_up.weight", "alpha")


def run(context: StageContext) -> StageResult:
    """Check every checkpoint of one expert and write a receipt with their hashes."""
    spec, name = context.spec, context.key.expert
    if name is None:
        raise ValueError("publish is a stage of one expert")
    root = context.path(layout.run(spec.guild, spec.name))
    run_state = context.house.log(spec.guild, spec.name).load()
    checkpoints = run_state.expert(name).checkpoints
    planner = context.planner
    files: dict[str, dict[str, object]] = {}
    for checkpoint in checkpoints:
        context.check_stopping()
        path = root / checkpoint.file
        check_adapter(
            path,
            modules=planner.engine.modules(planner.model),
            count=planner.engine.module_count(planner.model),
        )
        files[checkpoint.file] = {
            "sha256": file_sha256(path),
            "size_bytes": path.stat().st_size,
            "epoch": checkpoint.epoch,
            "step": checkpoint.step,
        }
    receipt = {"run": spec.name, "expert": name, "engine": spec.engine, "files": files}
    context.house.store.write(
        layout.receipt(spec.guild, spec.name, context.key), json.dumps(receipt, indent=2).encode()
    )
    return StageResult(note=f"{len(files)} checkpoint{'' if len(files) == 1 else 's'}")


def check_adapter(path: Path, *, modules: frozenset[str] | None, count: int) -> None:
    """Check that every key belongs to a module of the model and that the adapter has an effect.

    Raises:
        StageError: A key is foreign or missing, a value is not finite, or all up-weights are zero.
    """
    header = _header(path)
    found = _modules_of(path, list(header.tensors))
    wanted = {module.replace(".", "_") for module in modules} if modules is not None else found
    if len(found) != count or found != wanted:
        foreign = ", ".join(sorted(found - wanted)[:3]) or "none foreign"
        raise StageError(
            f"{path.name} adapts {len(found)} modules ({foreign}) where the model has {count}.",
            "The adapter does not fit the model; report this with the run's logs.",
        )
    norms = [
        float(np.abs(header.read(f"{_PREFIX}{module}.lora_up.weight")).max())
        for module in sorted(found)
    ]
    if not np.all(np.isfinite(norms)):
        raise StageError(
            f"{path.name} holds values that are not numbers.",
            "Train again with a lower learning rate.",
        )
    if not any(norms):
        raise StageError(
            f"Every up-weight of {path.name} is zero, so that it has no effect.",
            "Train again with a higher learning rate or more epochs.",
        )


def _header(path: Path) -> TensorHeader:
    try:
        return read_header(path)
    except (OSError, ValueError) as error:
        raise StageError(
            f"The checkpoint {path.name} cannot be read: {error}.",
            "Start the run again; the files of earlier epochs are kept.",
        ) from error


def _modules_of(path: Path, keys: list[str]) -> set[str]:
    parts: dict[str, set[str]] = {}
    for key in keys:
        module, _, part = key.removeprefix(_PREFIX).partition(".")
        if not key.startswith(_PREFIX) or part not in _PARTS:
            raise StageError(
                f"{path.name} holds the foreign key {key}.",
                "The adapter does not fit the model; report this with the run's logs.",
            )
        parts.setdefault(module, set()).add(part)
    incomplete = sorted(module for module, have in parts.items() if have != set(_PARTS))
    if incomplete:
        raise StageError(
            f"{path.name} lacks a part of {incomplete[0]}.",
            "The file is not a complete adapter; report this with the run's logs.",
        )
    return set(parts)
