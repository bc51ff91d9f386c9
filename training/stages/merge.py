"""merge: the speed LoRA into one expert's base, once for all runs, proven by a receipt."""

import hashlib
import json
from pathlib import Path

from training import layout
from training.catalogue import ExpertName
from training.events import StageKey
from training.merge.receipt import Receipt, address
from training.merge.request import MergeProgress, MergeRequest
from training.request import ExpertSpec
from training.stage import StageContext, StageResult
from training.stages.fetch import sha256_of


def run(context: StageContext) -> StageResult:
    """Make the merged base that the run's trainer reads, or reuse one of the same content."""
    planner, store = context.planner, context.house.store
    expert = _expert(context)
    base = planner.model.expert(expert.name).dit
    speed_lora = expert.speed_lora
    if speed_lora is None:
        raise ValueError(f"{planner.model.name} has nothing to merge")
    hashes = sha256_of(context, base), sha256_of(context, speed_lora.weight_file)
    place = address(*hashes, speed_lora.strength)
    with context.shared(f"merged/{place}"):
        # The receipt is written last: a file without one is never used.
        reused = store.exists(layout.merged_receipt(place))
        if not reused:
            receipt = _merge(context, expert, hashes, context.path(layout.merged(place, base)))
            store.write(layout.merged_receipt(place), receipt.to_json().encode())
    data = store.read(layout.merged_receipt(place))
    receipt = Receipt.model_validate_json(data)
    store.write(layout.receipt(context.spec.guild, context.spec.name, context.key), data)
    _link(context.path(planner.dit_key(expert)), context.path(layout.merged(place, base)))
    note = f"Lightning {receipt.layers_merged}/{receipt.layers_expected} layers"
    return StageResult(reused=reused, note=note)


def receipt_hash(context: StageContext, name: ExpertName) -> str | None:
    """Return the hash of the proof that the expert's base was merged, where it was."""
    if context.spec.expert(name).speed_lora is None:
        return None
    key = layout.receipt(context.spec.guild, context.spec.name, StageKey("merge", name))
    return hashlib.sha256(context.house.store.read(key)).hexdigest()


def _merge(
    context: StageContext, expert: ExpertSpec, hashes: tuple[str, str], output: Path
) -> Receipt:
    from training.merge.stream import merge  # noqa: PLC0415  # imports torch

    planner = context.planner
    if expert.speed_lora is None or planner.model.speed_lora is None:
        raise ValueError(f"{planner.model.name} has nothing to merge")
    engine = planner.engine.name
    base = planner.model.expert(expert.name).dit
    output.parent.mkdir(parents=True, exist_ok=True)

    def on_progress(progress: MergeProgress) -> None:
        context.check_stopping()
        state = {"done": progress.layers_done, "total": progress.layers_total}
        context.report_progress(json.dumps(state).encode())

    request = MergeRequest(
        base=context.path(layout.weight(engine, base)),
        lora=context.path(layout.weight(engine, expert.speed_lora.weight_file)),
        output=output,
        strength=expert.speed_lora.strength,
        expected=frozenset(planner.engine.modules(planner.model)),
        expected_count=planner.engine.module_count(planner.model),
        known_unused=planner.model.speed_lora.known_unused,
        base_sha256=hashes[0],
        lora_sha256=hashes[1],
    )
    return merge(request, on_progress=on_progress)


def _expert(context: StageContext) -> ExpertSpec:
    if context.key.expert is None:
        raise ValueError("merge is a stage of one expert")
    return context.spec.expert(context.key.expert)


def _link(name: Path, target: Path) -> None:
    name.parent.mkdir(parents=True, exist_ok=True)
    temporary = name.with_suffix(".link")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    temporary.replace(name)
