"""One tensor's way from the base to the output: merged or copied, hashed, written, sampled."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from training.merge.arithmetic import TensorMerge
from training.merge.changes import Change
from training.merge.kernel import start_writeback
from training.merge.layout import FileLayout, TensorSpec
from training.merge.proof import sample_errors
from training.merge.transfer import tensor_chunks, write_at


class StoppedError(Exception):
    """The merge has been given up while this tensor was written."""


@dataclass(frozen=True, slots=True)
class WrittenTensor:
    """What is known of a tensor once it is in the output."""

    spec: TensorSpec
    sha256: str
    is_changed: bool
    largest_change: float = 0.0
    sampled_error: float = 0.0
    sampled_values: int = 0

    @property
    def is_layer(self) -> bool:
        """Whether it counts as a merged layer: a weight matrix that changed."""
        return self.is_changed and len(self.spec.shape) >= 2


@dataclass(frozen=True, slots=True)
class TensorWork:
    """One tensor to be written; `change` is None where it is copied as it is."""

    file: FileLayout
    spec: TensorSpec
    change: Change | None
    target: Path

    def write(self, lora: FileLayout, stop: Event) -> WrittenTensor:
        """Write the tensor, in pieces so that `stop` ends it soon.

        Raises:
            MergeError: The result is not finite, or not what was written.
            StoppedError: `stop` was set.
        """
        merge = TensorMerge(self.spec, self.change, lora) if self.change else None
        digest = hashlib.sha256()
        with (
            self.file.path.open("rb", buffering=0) as source,
            self.target.open("r+b", buffering=0) as target,
        ):
            before, after = source.fileno(), target.fileno()
            position = self.spec.start
            for chunk in merge.chunks(before) if merge else tensor_chunks(before, self.spec):
                if stop.is_set():
                    raise StoppedError
                digest.update(chunk)
                write_at(after, chunk, position)
                position += len(chunk)
            start_writeback(after, self.spec.start, self.spec.size_bytes)
            if merge is None:
                return WrittenTensor(self.spec, digest.hexdigest(), is_changed=False)
            error, compared = sample_errors(self.spec, merge.delta, before, after)
        return WrittenTensor(
            spec=self.spec,
            sha256=digest.hexdigest(),
            is_changed=True,
            largest_change=merge.largest,
            sampled_error=error,
            sampled_values=compared,
        )
