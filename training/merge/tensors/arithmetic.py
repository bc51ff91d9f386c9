"""The arithmetic of a merge, a few rows at a time, in reused buffers."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from training.errors import MergeError
from training.files.safetensors_header import TensorEntry
from training.merge.disk.file_io import Room, read_at, tensor_chunks
from training.merge.inputs.files import FileLayout
from training.merge.planning.changes import Change
from training.merge.tensors.deltas import DTYPES, load_delta, load_part


class Extremes:
    """Minimum and maximum of each block of a tensor, checked for NaN once all blocks are done.

    Checking after every block would take Python's global lock two more times per block. With 16
    threads, a third of the time would be spent waiting for that lock.
    """

    def __init__(self, blocks: int, dtype: torch.dtype) -> None:
        self._values = torch.zeros(2, blocks, dtype=dtype)
        self._places = list(zip(*(row.unbind() for row in self._values), strict=True))

    def note(self, block: int, values: Tensor) -> None:
        """Record the extremes of `values`, which is one-dimensional and not empty."""
        torch.aminmax(values, out=self._places[block])

    @property
    def are_finite(self) -> bool:
        """Whether all values of all blocks are finite: neither NaN nor infinite."""
        return is_finite(self._values)


def is_finite(values: Tensor) -> bool:
    """Return whether all values are finite: neither NaN nor infinite."""
    # If any value is NaN, so are minimum and maximum. Calling `isfinite` on all values would need
    # memory for a second tensor of this size.
    return values.numel() == 0 or bool(torch.isfinite(torch.stack(torch.aminmax(values))).all())


# 128 rows of a matrix of width 5,120. Blocks of 32 rows would fit a core's L2 cache. But each torch
# call releases Python's global lock and then waits to get it back, and smaller blocks need more
# calls: with 16 threads, blocks of 32 rows took twice as long; with 2 threads, just as long.
_BLOCK_ELEMENTS = 128 * 5_120
# Smaller blocks make the matrix product slower. A block is never a single row, because torch
# computes a single row in a different way: its last bits would differ from those of the same row in
# the whole product.
_LEAST_ROWS = 16
# The type to calculate in, keyed by the base's type. fp32 is exact enough for 16-bit weights. For
# fp32 weights it is not: where weight and change nearly cancel, the last few bits would be wrong.
_WIDE = {"BF16": torch.float32, "F16": torch.float32, "F32": torch.float64}


class TensorMerge:
    """The merge of one tensor, block by block, with its LoRA matrices in memory.

    The result is identical, bit by bit, to the result of one operation on the whole matrices,
    `addmm(weight.float(), scale * up.float(), down.float()).to(dtype)`.

    Attributes:
        delta: The change that is added.
    """

    def __init__(self, spec: TensorEntry, change: Change, lora: FileLayout) -> None:
        self._spec, self._dtype, self._wide = spec, DTYPES[spec.dtype], _WIDE[spec.dtype]
        self.delta = load_delta(change, lora, self._wide)
        self._columns = self.delta.columns
        self._blocks = list(_blocks(spec.elements // max(1, self._columns), self._columns))
        self._most_rows = max((stop - start for start, stop in self._blocks), default=0)
        self._results = Extremes(len(self._blocks), self._dtype)

    @property
    def block_bytes(self) -> int:
        """The size of the largest chunk that `chunks` yields."""
        return self._most_rows * self._columns * self._dtype.itemsize

    def chunks(self, descriptor: int, room: Room) -> Iterator[memoryview]:
        """Yield the merged tensor's bytes in order, in buffers that `room` provides.

        Raises:
            MergeError: A merged value is NaN or infinite; raised after the last chunk.
        """
        scratch = torch.empty(self._most_rows, self._columns, dtype=self._wide)
        row_bytes = self._columns * self._dtype.itemsize
        for block, (start, stop) in enumerate(self._blocks):
            chunk = room((stop - start) * row_bytes)
            read_at(descriptor, chunk, self._spec.start + start * row_bytes)
            values, total = torch.frombuffer(chunk, dtype=self._dtype), scratch[: stop - start]
            total.view(-1).copy_(values)
            self.delta.add_rows(slice(start, stop), total)
            values.copy_(total.view(-1))
            self._results.note(block, values)
            yield chunk
        if not self._results.are_finite:
            raise MergeError(
                f"{self._spec.name} would have NaN or infinite values in {self._spec.dtype}.",
                "Check the base file's SHA-256, and use a strength near 1.0.",
            )


@dataclass(frozen=True, slots=True)
class FiniteCopy:
    """A tensor that is copied, because the LoRA does not change it; its values must be finite."""

    spec: TensorEntry

    def chunks(self, descriptor: int, room: Room) -> Iterator[memoryview]:
        """Yield the tensor's bytes in order, in buffers that `room` provides.

        Raises:
            MergeError: A value is NaN or infinite.
        """
        dtype = DTYPES.get(self.spec.dtype)
        for chunk in tensor_chunks(descriptor, self.spec, room):
            if dtype is not None and not is_finite(torch.frombuffer(chunk, dtype=dtype)):
                raise MergeError(
                    f"{self.spec.name} of the base has NaN or infinite values.",
                    "Download the base again and check its SHA-256.",
                )
            yield chunk


def _blocks(rows: int, columns: int) -> Iterator[tuple[int, int]]:
    """Yield each block of rows as (first row, last row + 1)."""
    step = max(_LEAST_ROWS, _BLOCK_ELEMENTS // max(1, columns) // _LEAST_ROWS * _LEAST_ROWS)
    start = 0
    while start < rows:
        stop = rows if rows - start <= step + 1 else start + step
        yield start, stop
        start = stop


def unusable_tensors(lora: FileLayout, specs: Iterable[TensorEntry]) -> list[str]:
    """Return the names of the LoRA tensors that hold NaN or infinite values."""
    return [spec.name for spec in specs if not all(map(is_finite, _pieces(lora, spec)))]


def _pieces(lora: FileLayout, spec: TensorEntry) -> Iterator[Tensor]:
    for first in range(0, spec.elements, _BLOCK_ELEMENTS):
        count = min(_BLOCK_ELEMENTS, spec.elements - first)
        yield load_part(lora.path, spec, first, count)
