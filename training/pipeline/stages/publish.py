"""publish: check that an expert's checkpoints are complete and fit its model, and add metadata."""

import json
from pathlib import Path, PurePosixPath

from training.errors import StageError
from training.files.hashing import file_crc32, file_sha256
from training.files.safetensors_header import read_header
from training.lora.contents import Contents, read_contents
from training.lora.fit import require_fit, require_values
from training.lora.rewrite import with_metadata
from training.pipeline.stage_runner import StageContext, StageResult
from training.pipeline.stage_writes import Made
from training.pipeline.stages.checkpoint_metadata import completed_metadata
from training.pipeline.stages.merge import receipt_hash
from training.remedies import ResumeRun
from training.runs.state import Checkpoint
from training.runs.training_events import CheckpointSaved
from training.vocabulary import ExpertName
from training.wording import count


def run(context: StageContext) -> StageResult:
    """Check every checkpoint of one expert, add metadata, and write a receipt with hashes."""
    spec, name = context.spec, context.expert
    checkpoints = context.runtime.log(spec.guild, spec.name).load().expert(name).checkpoints
    planner = context.planner
    facts = completed_metadata(
        spec,
        spec.expert(name),
        planner.model,
        engine_version=planner.engine.version,
        merge_receipt=receipt_hash(context, name),
    )
    files: dict[str, dict[str, object]] = {}
    damaged: list[str] = []
    loading: set[str] = set()
    completed: list[str] = []
    events: list[CheckpointSaved] = []
    for checkpoint in checkpoints:
        context.check_stopping()
        stored = _as_saved(context, checkpoint, facts)
        if stored is None:
            _refuse_final(checkpoint)
            damaged.append(PurePosixPath(checkpoint.file).name)
            continue
        contents = read_contents(stored)
        loads = _check(context, contents, name)
        loading.add(loads)
        path = _complete(context, contents, facts, checkpoint)
        if path != contents.header.path:
            completed.append(f"{spec.keys.folder}/{checkpoint.file}")
        events.append(_saved(checkpoint, path))
        files[checkpoint.file] = {
            "sha256": file_sha256(path),
            "size_bytes": path.stat().st_size,
            "epoch": checkpoint.epoch,
            "step": checkpoint.step,
            "comfyui": loads,
        }
    receipt = {"run": spec.name, "expert": name, "engine": spec.engine, "files": files}
    note = ", ".join([count(len(files), "checkpoint"), *sorted(loading)])
    return StageResult(
        note=f"{note}; damaged: {', '.join(damaged)}" if damaged else note,
        made=Made(
            kept=completed,
            records={spec.keys.receipt(context.key): json.dumps(receipt, indent=2).encode()},
            events=events,
        ),
    )


def _as_saved(context: StageContext, checkpoint: Checkpoint, facts: dict[str, str]) -> Path | None:
    """Return a checkpoint's file if it is undamaged, and None otherwise.

    The file is as the trainer saved it, or already has the metadata that an earlier attempt added.
    """
    try:
        path = context.runtime.store.fetch(f"{context.spec.keys.folder}/{checkpoint.file}")
        if path.stat().st_size == checkpoint.size_bytes:
            is_right = checkpoint.crc32 in (None, file_crc32(path))
        else:
            is_right = facts.items() <= read_header(path).metadata.items()
    except (FileNotFoundError, ValueError):
        return None
    return path if is_right else None


def _refuse_final(checkpoint: Checkpoint) -> None:
    """Raise `StageError` if this is the last checkpoint, without which a run is not complete."""
    if checkpoint.is_final:
        raise StageError(
            f"{PurePosixPath(checkpoint.file).name} was damaged after it was saved.",
            "Resume the run to make the file again from the last training state.",
            ResumeRun(),
        )


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


def _complete(
    context: StageContext, contents: Contents, facts: dict[str, str], checkpoint: Checkpoint
) -> Path:
    """Return a checkpoint's file with `facts` in its metadata.

    The result is the stored file if it already has `facts`, and otherwise a staged copy.
    """
    path: Path = contents.header.path
    metadata = {**contents.header.metadata, **facts}
    if metadata != contents.header.metadata:
        path = context.staging_path(f"{context.spec.keys.folder}/{checkpoint.file}")
        with_metadata(contents.header, metadata, path)
    return path


def _saved(checkpoint: Checkpoint, path: Path) -> CheckpointSaved:
    return CheckpointSaved(
        path=checkpoint.file,
        epoch=checkpoint.epoch,
        step=checkpoint.step,
        is_final=checkpoint.is_final,
        size_bytes=path.stat().st_size,
        crc32=file_crc32(path),
    )
