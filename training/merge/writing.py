"""All tensors of one merge, made by several threads; each thread owns one tensor at a time."""

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from threading import Event

import torch

from training.errors import MergeError
from training.merge.arithmetic import unusable_tensors
from training.merge.layout import listed
from training.merge.output import Staging
from training.merge.plan import MergePlan
from training.merge.request import MergeProgress
from training.merge.worker import TensorWork, WrittenTensor


def write_tensors(
    plan: MergePlan,
    staging: Staging,
    stop: Event,
    workers: int,
    on_progress: Callable[[MergeProgress], None],
) -> list[WrittenTensor]:
    """Write every tensor of the output; return what was written, in file order.

    Raises:
        MergeError: The LoRA or a result holds NaN or infinite values.
    """
    work = [
        TensorWork(file, spec, plan.changes.get(spec.name), staging.path_of(file))
        for file, spec in plan.base.tensors
    ]
    with (
        ThreadPoolExecutor(workers + 1, "disk") as disk,
        _pool(workers) as pool,
        stopping(stop),
    ):
        _refuse_unusable(plan, pool)
        futures = [pool.submit(item.write, plan.lora, stop, disk) for item in work]
        progress = MergeProgress(0, plan.layers, 0, plan.base.data_bytes)
        for future in as_completed(futures):
            progress = _advance(progress, future.result())
            on_progress(progress)
        return [future.result() for future in futures]


@contextmanager
def stopping(stop: Event) -> Generator[None]:
    """Set `stop` when the block fails or is interrupted, so that its threads end soon."""
    try:
        yield
    except BaseException:
        stop.set()
        raise


@contextmanager
def _pool(workers: int) -> Generator[ThreadPoolExecutor]:
    """Yield a pool whose threads each calculate alone: the tensors are divided among them."""
    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(workers, "merge", torch.set_num_threads, (1,)) as pool:
            yield pool
    finally:
        torch.set_num_threads(before)


def _refuse_unusable(plan: MergePlan, pool: ThreadPoolExecutor) -> None:
    def check(name: str) -> Sequence[str]:
        return unusable_tensors(plan.lora, plan.changes[name].parts)

    names = [found for part in pool.map(check, plan.changes) for found in part]
    if names:
        raise MergeError(
            f"{len(names)} tensors of {plan.lora.path.name} hold NaN or infinite values: "
            f"{listed(names)}.",
            "Fetch the LoRA again; if its SHA-256 is right, its training failed.",
        )


def _advance(progress: MergeProgress, written: WrittenTensor) -> MergeProgress:
    return MergeProgress(
        progress.layers_done + written.is_layer,
        progress.layers_total,
        progress.bytes_done + written.spec.size_bytes,
        progress.bytes_total,
    )
