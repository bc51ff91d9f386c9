"""Writes all tensors of a merge with several threads, one tensor per thread at a time."""

import hashlib
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import torch

from training.errors import MergeError
from training.files.safetensors_header import TensorEntry
from training.merge.disk.file_io import COPY_BYTES
from training.merge.disk.stream_writer import StreamWriter
from training.merge.inputs.files import FileLayout
from training.merge.output import Staging
from training.merge.planning.changes import Change
from training.merge.planning.plan import MergePlan
from training.merge.request import MergeProgress
from training.merge.tensors.arithmetic import FiniteCopy, TensorMerge, unusable_tensors
from training.merge.tensors.proof import sample_errors
from training.wording import count, listed


class StoppedError(Exception):
    """The merge failed or was interrupted elsewhere, so writing this tensor was abandoned."""


@dataclass(frozen=True, slots=True)
class WrittenTensor:
    """A written tensor; `change` is the root mean square of the LoRA's change (0 if copied)."""

    spec: TensorEntry
    sha256: str
    is_changed: bool
    change: float = 0.0
    sampled_error: float = 0.0
    sampled_values: int = 0

    @property
    def is_layer(self) -> bool:
        """Whether this is a merged layer: a weight matrix that changed."""
        is_matrix = len(self.spec.shape) >= 2 and self.spec.name.endswith(".weight")
        return self.is_changed and is_matrix


@dataclass(frozen=True, slots=True)
class TensorWork:
    """A tensor to write to `target`: merged, or copied from the base if `change` is None."""

    file: FileLayout
    spec: TensorEntry
    change: Change | None
    target: Path

    def write(self, lora: FileLayout, stop: Event, disk: Executor) -> WrittenTensor:
        """Write the tensor piece by piece; the writes to the file run in `disk`.

        Raises:
            MergeError: The result is not finite or was written incorrectly.
            StoppedError: `stop` was set.
        """
        merge = TensorMerge(self.spec, self.change, lora) if self.change else None
        copied = FiniteCopy(self.spec)
        most = merge.block_bytes if merge else COPY_BYTES
        digest = hashlib.sha256()
        with (
            self.file.path.open("rb", buffering=0) as source,
            StreamWriter(self.target, self.spec.start, most, disk) as target,
        ):
            before, room = source.fileno(), target.room
            chunks = merge.chunks(before, room) if merge else copied.chunks(before, room)
            for chunk in chunks:
                if stop.is_set():
                    raise StoppedError
                digest.update(chunk)
                target.commit(len(chunk))
            target.flush()
            if merge is None:
                return WrittenTensor(self.spec, digest.hexdigest(), is_changed=False)
            error, compared = sample_errors(self.spec, merge.delta, before, target.descriptor)
        return WrittenTensor(
            spec=self.spec,
            sha256=digest.hexdigest(),
            is_changed=True,
            change=merge.delta.root_mean_square(),
            sampled_error=error,
            sampled_values=compared,
        )


def write_tensors(
    plan: MergePlan,
    staging: Staging,
    stop: Event,
    workers: int,
    on_progress: Callable[[MergeProgress], None],
) -> list[WrittenTensor]:
    """Write every tensor of the output and return them in file order.

    Raises:
        MergeError: The LoRA or a result has NaN or infinite values.
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
    """Set `stop` if the block fails or is interrupted, so that its threads end soon."""
    try:
        yield
    except BaseException:
        stop.set()
        raise


@contextmanager
def _pool(workers: int) -> Generator[ThreadPoolExecutor]:
    """Yield a pool in which torch uses one core per thread: each thread merges its own tensors."""
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
            f"{plan.lora.path.name} has NaN or infinite values in {count(len(names), 'tensor')}: "
            f"{listed(sorted(names))}.",
            "Download the LoRA again. If its SHA-256 is right, its training failed.",
        )


def _advance(progress: MergeProgress, written: WrittenTensor) -> MergeProgress:
    return MergeProgress(
        progress.layers_done + written.is_layer,
        progress.layers_total,
        progress.bytes_done + written.spec.size_bytes,
        progress.bytes_total,
    )
