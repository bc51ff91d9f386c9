"""merge: merge a speed LoRA into one expert's base model, once for all runs, with a receipt."""

import logging
from dataclasses import dataclass

from pydantic import ValidationError

from training import store_keys
from training.catalogue.models import WeightFile
from training.errors import MergeError, StageError
from training.files.atomic import atomic_symlink
from training.files.read_before import is_right
from training.merge.receipt import Receipt, address
from training.merge.request import MergeProgress, MergeRequest
from training.merge.verify import check_outline, check_sample, verify
from training.pipeline.stage_runner import StageContext, StageResult
from training.pipeline.stage_writes import Made
from training.pipeline.stages.fetch import require_weight, sha256_of
from training.remedies import ResumeRun
from training.runs.hyperparameters import SpeedLoraSettings
from training.runs.spec import ExpertSpec
from training.vocabulary import ExpertName, StageKey

logger = logging.getLogger(__name__)


def run(context: StageContext) -> StageResult:
    """Make the merged base, or reuse one made earlier from the same files and strength."""
    inputs = _inputs(context, context.spec.expert(context.expert))
    with context.shared(inputs.merged_key, f"merged/{inputs.address}"):
        receipt = _stored_receipt(context, inputs.address)
        reused = receipt is not None and _is_whole(context, inputs, receipt)
        if receipt is None or not reused:
            _remove(context, inputs)
            receipt = _merge(context, inputs)
            records = {store_keys.merged_receipt(inputs.address): receipt.to_json().encode()}
            context.writes.store(Made(kept=[inputs.merged_key], records=records))
    note = f"Lightning {receipt.layers_merged}/{receipt.layers_expected} layers"
    if receipt.keys_skipped:
        note += f", {len(receipt.keys_skipped)} image keys left out"
    records = {context.spec.keys.receipt(context.key): receipt.to_json().encode()}
    return StageResult(reused=reused, note=note, made=Made(records=records))


def _stored_receipt(context: StageContext, address: str) -> Receipt | None:
    # The receipt is written last, so a file without a receipt is never used.
    try:
        data = context.runtime.store.read(store_keys.merged_receipt(address))
        return Receipt.model_validate_json(data)
    except (FileNotFoundError, ValidationError):
        return None


def _is_whole(context: StageContext, inputs: "_Inputs", receipt: Receipt) -> bool:
    """Return whether the merged base matches its receipt.

    The whole file is read only if it was not checked recently.
    """
    merged = context.path(inputs.merged_key)

    def on_progress(_done: int, _whole: int) -> None:
        context.check_stopping()

    def check() -> bool:
        verify(merged, receipt, on_progress=on_progress)
        return True

    try:
        check_outline(merged, receipt)
        return is_right(merged, receipt.output_digest, check)
    except MergeError as error:
        logger.warning("%s is merged again: %s", merged.name, error.cause)
        return False


def _remove(context: StageContext, inputs: "_Inputs") -> None:
    """Remove the remaining files of a merged base, its receipt first."""
    folder = f"{store_keys.MERGED}/{inputs.address}"
    if context.runtime.store.exists(folder):
        receipt = store_keys.merged_receipt(inputs.address)
        context.writes.store(Made(deleted=[receipt, folder]))


def receipt_hash(context: StageContext, name: ExpertName) -> str | None:
    """Return the hash of an expert's merge from its receipt; None if nothing is merged."""
    if context.spec.expert(name).speed_lora is None:
        return None
    key = context.spec.keys.receipt(StageKey("merge", name))
    try:
        return Receipt.model_validate_json(context.runtime.store.read(key)).merge_sha256
    except (FileNotFoundError, ValidationError) as error:
        raise _damaged(f"The receipt of the {name} expert's merge") from error


def link_merged(context: StageContext, name: ExpertName) -> None:
    """Put a link to the expert's merged base, if it has one, at the path that the trainer reads.

    Raises:
        StageError: The merged base, or a receipt that names it, is missing or damaged.
    """
    expert = context.spec.expert(name)
    if expert.speed_lora is None:
        return
    inputs = _inputs(context, expert)
    merged = context.path(inputs.merged_key)
    receipt = _stored_receipt(context, inputs.address)
    try:
        if receipt is None:
            raise _damaged(f"The receipt of {merged.name}")
        check_sample(merged, receipt)
    except MergeError as error:
        raise _damaged(merged.name) from error
    atomic_symlink(context.planner.dit(expert), merged)


def _damaged(what: str) -> StageError:
    return StageError(
        f"{what} is missing or damaged.",
        "Resume the run to merge it again.",
        ResumeRun(),
    )


@dataclass(frozen=True, slots=True)
class _Inputs:
    """The inputs of a merge; `hashes` are the SHA-256 of the base and of the speed LoRA."""

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
    engine = planner.engine.name
    for weight in (inputs.base, inputs.speed_lora.weight_file):
        require_weight(context, weight)

    def on_progress(progress: MergeProgress) -> None:
        context.check_stopping()
        state = {"done": progress.layers_done, "total": progress.layers_total}
        context.report_progress(state)

    request = MergeRequest(
        base=context.path(store_keys.weight(engine, inputs.base)),
        lora=context.path(store_keys.weight(engine, inputs.speed_lora.weight_file)),
        output=context.staging_path(inputs.merged_key),
        strength=inputs.speed_lora.strength,
        expected=frozenset(planner.engine.modules(planner.model)),
        expected_count=planner.engine.module_count(planner.model),
        base_sha256=inputs.hashes[0],
        lora_sha256=inputs.hashes[1],
    )
    return merge(request, on_progress=on_progress)
