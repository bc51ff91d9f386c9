"""merge: merge the speed LoRA into one expert's base, once for all runs, with a receipt."""

import hashlib
import json
from dataclasses import dataclass

from training import store_keys
from training.catalogue.models import WeightFile
from training.files.atomic import atomic_symlink
from training.merge.receipt import Receipt, address
from training.merge.request import MergeProgress, MergeRequest
from training.pipeline.stage_runner import StageContext, StageResult
from training.pipeline.stages.fetch import sha256_of
from training.runs.hyperparameters import SpeedLoraSettings
from training.runs.spec import ExpertSpec
from training.vocabulary import ExpertName, StageKey


def run(context: StageContext) -> StageResult:
    """Make the merged base, or reuse one with the same content."""
    store = context.runtime.store
    inputs = _inputs(context, _expert(context))
    with context.shared(f"merged/{inputs.address}", inputs.merged_key):
        # The receipt is written last: a file without one is never used.
        reused = store.exists(store_keys.merged_receipt(inputs.address))
        if not reused:
            receipt = _merge(context, inputs)
            context.keep(inputs.merged_key)
            store.write(store_keys.merged_receipt(inputs.address), receipt.to_json().encode())
    data = store.read(store_keys.merged_receipt(inputs.address))
    receipt = Receipt.model_validate_json(data)
    store.write(context.spec.keys.receipt(context.key), data)
    note = f"Lightning {receipt.layers_merged}/{receipt.layers_expected} layers"
    return StageResult(reused=reused, note=note)


def receipt_hash(context: StageContext, name: ExpertName) -> str | None:
    """Return the hash of the merge receipt of an expert's base, or None."""
    if context.spec.expert(name).speed_lora is None:
        return None
    key = context.spec.keys.receipt(StageKey("merge", name))
    return hashlib.sha256(context.runtime.store.read(key)).hexdigest()


def link_merged(context: StageContext, name: ExpertName) -> None:
    """Link the merged base, if the expert has one, to the path that the trainer reads."""
    expert = context.spec.expert(name)
    if expert.speed_lora is not None:
        merged = _inputs(context, expert).merged_key
        atomic_symlink(context.planner.dit(expert), context.path(merged))


@dataclass(frozen=True, slots=True)
class _Inputs:
    """The inputs of a merge, which determine the output's address."""

    base: WeightFile
    speed_lora: SpeedLoraSettings
    hashes: tuple[str, str]

    @property
    def address(self) -> str:
        return address(*self.hashes, self.speed_lora.strength)

    @property
    def merged_key(self) -> str:
        return store_keys.merged(self.address, self.base)


def _inputs(context: StageContext, expert: ExpertSpec) -> _Inputs:
    base = context.planner.model.expert(expert.name).dit
    if expert.speed_lora is None:
        raise ValueError(f"{context.planner.model.name} has nothing to merge")
    hashes = sha256_of(context, base), sha256_of(context, expert.speed_lora.weight_file)
    return _Inputs(base, expert.speed_lora, hashes)


def _merge(context: StageContext, inputs: _Inputs) -> Receipt:
    from training.merge.merge import merge  # noqa: PLC0415  # imports torch

    planner = context.planner
    if planner.model.speed_lora is None:
        raise ValueError(f"{planner.model.name} has nothing to merge")
    engine = planner.engine.name

    def on_progress(progress: MergeProgress) -> None:
        context.check_stopping()
        state = {"done": progress.layers_done, "total": progress.layers_total}
        context.report_progress(json.dumps(state).encode())

    request = MergeRequest(
        base=context.path(store_keys.weight(engine, inputs.base)),
        lora=context.path(store_keys.weight(engine, inputs.speed_lora.weight_file)),
        output=context.staging_path(inputs.merged_key),
        strength=inputs.speed_lora.strength,
        expected=frozenset(planner.engine.modules(planner.model)),
        expected_count=planner.engine.module_count(planner.model),
        known_unused=planner.model.speed_lora.known_unused,
        base_sha256=inputs.hashes[0],
        lora_sha256=inputs.hashes[1],
    )
    return merge(request, on_progress=on_progress)


def _expert(context: StageContext) -> ExpertSpec:
    if context.key.expert is None:
        raise ValueError("merge is a stage of one expert")
    return context.spec.expert(context.key.expert)
