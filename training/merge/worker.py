"""One tensor's way from the base to the output: merged or copied, hashed, written, sampled."""

import hashlib
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from training.files.safetensors_header import TensorEntry
from training.merge.arithmetic import TensorMerge
from training.merge.changes import Change
from training.merge.direct import StreamWriter
from training.merge.layout import FileLayout
from training.merge.proof import sample_errors
from training.merge.transfer import COPY_BYTES, tensor_chunks


class StoppedError(Exception):
    """The merge has been given up while this tensor was written."""


@dataclass(frozen=True, slots=True)
class WrittenTensor:
    """What is known of a tensor once it is in the output.

    Attributes:
        change: Root mean square of what was added to it.
    """

    spec: TensorEntry
    sha256: str
    is_changed: bool
    change: float = 0.0
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
    spec: TensorEntry
    change: Change | None
    target: Path

    def write(self, lora: FileLayout, stop: Event, disk: Executor) -> WrittenTensor:
        """Write the tensor, in pieces so that `stop` ends it soon, by the threads of `disk`.

        Raises:
            MergeError: The result is not finite, or not what was written.
            StoppedError: `stop` was set.
        """
        merge = TensorMerge(self.spec, self.change, lora) if self.change else None
        most = merge.block_bytes if merge else COPY_BYTES
        digest = hashlib.sha256()
        with (
            self.file.path.open("rb", buffering=0) as source,
            StreamWriter(self.target, self.spec.start, most, disk) as target,
        ):
            before, room = source.fileno(), target.room
            chunks = merge.chunks(before, room) if merge else tensor_chunks(before, self.spec, room)
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
