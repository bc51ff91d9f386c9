"""Merges a LoRA into a base model: plans, writes and checks, then publishes the complete output."""

import logging
import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import TYPE_CHECKING

from training.errors import MergeError
from training.files.disk_space import is_full
from training.files.parallel import usable_cores
from training.files.sizes import size
from training.merge.inputs.hashes import InputHashes
from training.merge.output import Staging, exclusive, is_taken, output_root, refuse_unfit
from training.merge.planning.plan import MergePlan, plan_merge
from training.merge.receipt import MERGE_VERSION, Receipt, fold_digests, read_receipt, receipt_path
from training.merge.request import MergeProgress, MergeRequest
from training.merge.verify import check_outline, header_sha256, verify

if TYPE_CHECKING:
    from training.merge.tensors.writing import WrittenTensor

__all__ = ["MergeProgress", "MergeRequest", "Receipt", "merge", "verify"]

logger = logging.getLogger(__name__)
_MOST_WORKERS = 18  # more threads would only wait for each other at the output file
OnProgress = Callable[[MergeProgress], None]


def _ignore(progress: MergeProgress) -> None:
    pass


def merge(
    request: MergeRequest, *, on_progress: OnProgress = _ignore, workers: int | None = None
) -> Receipt:
    """Merge a LoRA into a base model; if the output already holds this merge, return its receipt.

    If another process is writing the same output, wait for it. The output's bytes do not depend on
    the number of workers.

    Args:
        request: The files to merge, and the conditions that the merge must meet.
        on_progress: Called in the caller's thread; an error raised by it ends the merge.
        workers: Number of threads that compute tensors, not counting those that wait for the
            disk. Default: one for each usable core, at most 18.

    Raises:
        MergeError: The inputs do not fit, the output already holds something else, or the disk
            failed. No partial output is left.
    """
    plan = plan_merge(request)
    refuse_unfit(plan.base, plan.lora, request.output)
    root = output_root(plan.base, request.output)
    count = workers or min(_MOST_WORKERS, usable_cores())
    try:
        with exclusive(root), InputHashes(request, plan.base, plan.lora) as hashes:
            if is_taken(root):
                receipt = _made_before(request, plan, hashes)
            else:
                receipt = _make(request, plan, hashes, count, on_progress)
    except OSError as error:
        raise _disk_error(request, plan, error) from error
    whole = plan.base.data_bytes
    on_progress(MergeProgress(plan.layers, plan.layers, whole, whole))
    return receipt


def _make(
    request: MergeRequest,
    plan: MergePlan,
    hashes: InputHashes,
    workers: int,
    on_progress: OnProgress,
) -> Receipt:
    # Import this only here, because planning and verifying need no torch. Loading torch takes a
    # second or two, during which the inputs are hashed.
    from training.merge.tensors.writing import write_tensors  # noqa: PLC0415

    started = time.monotonic()
    staging = Staging(plan.base, request.output)
    try:
        staging.create()
        written = write_tensors(plan, staging, hashes.stop, workers, on_progress)
        staging.sync()
        receipt = _receipt(request, plan, hashes, written, started)
        _refuse_changed_inputs(plan)
        staging.publish(receipt)
    finally:
        staging.discard()
    logger.info("merged %s in %.1f s", request.output, receipt.seconds)
    return receipt


def _made_before(request: MergeRequest, plan: MergePlan, hashes: InputHashes) -> Receipt:
    """Return the existing output's receipt; raise `MergeError` if it records a different merge."""
    try:
        receipt = read_receipt(receipt_path(request.output))
        check_outline(request.output, receipt)
        _check_inputs(receipt, request, plan, hashes)
    except MergeError as error:
        raise MergeError(
            f"{request.output} already exists and comes from a different merge: {error.cause}",
            "Delete it, or choose another output.",
        ) from error
    logger.info("%s already exists; the merge is not repeated", request.output)
    return receipt


def _check_inputs(
    receipt: Receipt, request: MergeRequest, plan: MergePlan, hashes: InputHashes
) -> None:
    wanted = {
        "merge_version": MERGE_VERSION,
        "base_sha256": hashes.base_sha256,
        "lora_sha256": hashes.lora_sha256,
        "strength": request.strength,
        "keys_skipped": dict(plan.skipped),
    }
    if differing := [name for name, value in wanted.items() if getattr(receipt, name) != value]:
        raise MergeError(
            f"its receipt has a different {', '.join(differing)}.", "Compare the receipt's fields."
        )


def _receipt(
    request: MergeRequest,
    plan: MergePlan,
    hashes: InputHashes,
    written: "list[WrittenTensor]",
    started: float,
) -> Receipt:
    digests = {tensor.spec.name: tensor.sha256 for tensor in written}
    most = max(written, key=lambda tensor: tensor.change)
    if most.change == 0:
        raise MergeError(
            f"{request.lora.name} changes nothing: every change is 0.",
            "Use a trained LoRA.",
        )
    return Receipt(
        base_name=request.base.name,
        lora_name=request.lora.name,
        base_sha256=hashes.base_sha256,
        lora_sha256=hashes.lora_sha256,
        hashes_taken_as_known=hashes.known,
        strength=request.strength,
        output_digest=fold_digests(digests.values()),
        header_sha256=header_sha256(plan.base),
        tensor_sha256=digests,
        layers_merged=sum(tensor.is_layer for tensor in written) - len(plan.extra),
        layers_expected=len(plan.expected),
        layers_extra=len(plan.extra),
        tensors_changed=sum(tensor.is_changed for tensor in written),
        keys_skipped=dict(plan.skipped),
        decisions=dict(plan.decisions),
        largest_change=most.change,
        largest_change_layer=most.spec.name,
        sampled_max_error=max(tensor.sampled_error for tensor in written),
        sampled_values=sum(tensor.sampled_values for tensor in written),
        seconds=round(time.monotonic() - started, 3),
        bytes=sum(file.size_bytes for file in plan.base.files),
        versions=_versions(),
    )


def _refuse_changed_inputs(plan: MergePlan) -> None:
    for file in (*plan.base.files, plan.lora):
        if not file.is_unchanged():
            raise MergeError(
                f"{file.path} changed during the merge.",
                "Wait until nothing writes to it, then merge again.",
            )


def _versions() -> dict[str, str]:
    packages = {name: version(name) for name in ("torch", "safetensors")}
    return {"python": platform.python_version(), **packages, "machine": platform.machine()}


def _disk_error(request: MergeRequest, plan: MergePlan, error: OSError) -> MergeError:
    if is_full(error):
        need = size(plan.base.data_bytes)
        return MergeError(
            f"There is not enough space for {request.output}, which needs {need}.",
            "Free up space on its disk, or choose an output on another disk, then merge again.",
        )
    return MergeError(
        f"The merge into {request.output} failed: {error}.",
        "Check paths, permissions and the disk, then merge again. The partial output was deleted.",
    )
