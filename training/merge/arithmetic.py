"""The arithmetic of a merge, some rows at a time, in buffers that are used again."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from training.errors import MergeError
from training.merge.changes import Change
from training.merge.deltas import DTYPES, is_finite, load_delta, load_tensor
from training.merge.layout import FileLayout, TensorSpec
from training.merge.transfer import Room, read_at

# 128 rows of a 5,120 wide matrix. A quarter of that would stay in a core's L2 cache, but then
# the calls themselves, for which all threads share one lock, are the limit: 16 threads took
# twice the time (7.4 s rather than 3.4 s for 8.4 GB), 2 threads a tenth more CPU time.
_BLOCK_ELEMENTS = 128 * 5_120
# Below this the matrix product gets slower. A block is also never a single row of many: the
# library computes that another way, and the result would not be that of the whole product.
_LEAST_ROWS = 16
# fp32 sums are exact enough for 16 bits. For an fp32 base they would be off by several units
# in the last place wherever weight and change nearly cancel.
_WIDE = {"BF16": torch.float32, "F16": torch.float32, "F32": torch.float64}
_SAFE_SQUARES = torch.finfo(torch.float16).max ** 2


class TensorMerge:
    """The merge of one tensor, with the LoRA's part of it in memory.

    The result is `(weight.float() + scale * (up.float() @ down.float())).to(dtype)` bit by bit,
    however it is divided into blocks; a scale of 1 is not multiplied.

    Attributes:
        delta: What is added.
        largest: The largest absolute change so far.
    """

    def __init__(self, spec: TensorSpec, change: Change, lora: FileLayout) -> None:
        self._spec, self._dtype, self._wide = spec, DTYPES[spec.dtype], _WIDE[spec.dtype]
        self.delta = load_delta(change, lora, self._wide)
        self._columns = self.delta.columns
        self._blocks = list(_blocks(spec.elements // max(1, self._columns), self._columns))
        self._most_rows = max((stop - start for start, stop in self._blocks), default=0)
        self.largest = 0.0

    @property
    def block_bytes(self) -> int:
        """Size of the largest chunk."""
        return self._most_rows * self._columns * self._dtype.itemsize

    def chunks(self, descriptor: int, room: Room) -> Iterator[memoryview]:
        """Yield the merged tensor's bytes in order, each chunk in memory that `room` gave."""
        sums, changes = (
            torch.empty(self._most_rows, self._columns, dtype=self._wide) for _ in range(2)
        )
        row_bytes = self._columns * self._dtype.itemsize
        for start, stop in self._blocks:
            count = stop - start
            chunk = room(count * row_bytes)
            read_at(descriptor, chunk, self._spec.start + start * row_bytes)
            raw = torch.frombuffer(chunk, dtype=self._dtype).view(count, self._columns)
            self._add(slice(start, stop), raw, sums[:count], changes[:count])
            yield chunk

    def _add(self, rows: slice, raw: Tensor, total: Tensor, change: Tensor) -> None:
        total.copy_(raw)
        self.delta.write_rows(rows, change)
        numbers = change.numpy()  # its minimum and maximum take half the time of aminmax
        self.largest = max(self.largest, -float(numbers.min()), float(numbers.max()))
        total.add_(change)
        raw.copy_(total)
        # One pass that NaN, infinity and overflow of fp16 cannot get through; sums of ordinary
        # weights stay far below the limit, so the exact check is next to never needed.
        squares = torch.dot(total.view(-1), total.view(-1)).item()
        if not squares < _SAFE_SQUARES and not is_finite(raw):
            raise MergeError(
                f"{self._spec.name} would get NaN or infinite values in {self._spec.dtype}.",
                "Check the base file's SHA-256, and use a strength near 1.0.",
            )


def _blocks(rows: int, columns: int) -> Iterator[tuple[int, int]]:
    """Yield the first row of each block and the row after its last."""
    step = max(_LEAST_ROWS, _BLOCK_ELEMENTS // max(1, columns) // _LEAST_ROWS * _LEAST_ROWS)
    start = 0
    while start < rows:
        stop = rows if rows - start <= step + 1 else start + step
        yield start, stop
        start = stop


def unusable_tensors(lora: FileLayout, specs: Iterable[TensorSpec]) -> list[str]:
    """Return the names of the tensors that hold NaN or infinite values."""
    return [spec.name for spec in specs if not is_finite(load_tensor(lora.path, spec))]
