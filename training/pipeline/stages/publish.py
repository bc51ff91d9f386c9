"""publish: check that an expert's checkpoints are complete and fit, and add their metadata."""

import json
from pathlib import Path

from training.files.hashing import file_sha256
from training.lora.contents import Contents, read_contents
from training.lora.fit import require_fit, require_values
from training.lora.rewrite import with_metadata
from training.pipeline.stage_runner import StageContext, StageResult
from training.pipeline.stages.checkpoint_metadata import completed_metadata
from training.pipeline.stages.merge import receipt_hash
from training.runs.state import Checkpoint
from training.runs.training_events import CheckpointSaved
from training.vocabulary import ExpertName


def run(context: StageContext) -> StageResult:
    """Check every checkpoint of one expert, add metadata, and write a receipt with hashes."""
    spec, name = context.spec, context.key.expert
    if name is None:
        raise ValueError("publish is a stage of one expert")
    root = context.path(spec.keys.folder)
    checkpoints = context.runtime.log(spec.guild, spec.name).load().expert(name).checkpoints
    facts = _facts(context, name)
    files: dict[str, dict[str, object]] = {}
    for checkpoint in checkpoints:
        context.check_stopping()
        contents = read_contents(root / checkpoint.file)
        loads = _check(context, contents, name)
        path = _complete(context, contents, facts, checkpoint)
        files[checkpoint.file] = {
            "sha256": file_sha256(path),
            "size_bytes": path.stat().st_size,
            "epoch": checkpoint.epoch,
            "step": checkpoint.step,
            "comfyui": loads,
        }
    receipt = {"run": spec.name, "expert": name, "engine": spec.engine, "files": files}
    context.runtime.store.write(
        spec.keys.receipt(context.key),
        json.dumps(receipt, indent=2).encode(),
    )
    return StageResult(note=f"{len(files)} checkpoint{'' if len(files) == 1 else 's'}")


def _check(context: StageContext, contents: Contents, name: ExpertName) -> str:
    planner = context.planner
    loads = require_fit(
        contents,
        model=planner.model,
        expert=planner.model.expert(name),
        modules=planner.engine.modules(planner.model),
        rank=context.spec.expert(name).settings.rank,
    )
    require_values(contents)
    return loads


def _facts(context: StageContext, name: ExpertName) -> dict[str, str]:
    planner = context.planner
    return completed_metadata(
        context.spec,
        context.spec.expert(name),
        planner.model,
        engine_version=planner.engine.version,
        merge_receipt=receipt_hash(context, name),
    )


def _complete(
    context: StageContext, contents: Contents, facts: dict[str, str], checkpoint: Checkpoint
) -> Path:
    """Add `facts` to a checkpoint's metadata, unless already there; return the file."""
    path: Path = contents.header.path
    metadata = {**contents.header.metadata, **facts}
    if metadata != contents.header.metadata:
        run = context.spec.keys.folder
        path = context.staging_path(f"{run}/{checkpoint.file}")
        with_metadata(contents.header, metadata, path)
        context.keep(f"{run}/{checkpoint.file}")
    context.emit(
        CheckpointSaved(
            path=checkpoint.file,
            epoch=checkpoint.epoch,
            step=checkpoint.step,
            is_final=checkpoint.is_final,
            size_bytes=path.stat().st_size,
        )
    )
    return path
