"""The change that a LoRA makes to one tensor, row by row.

A tensor of more than two axes is treated as a matrix [out, all other axes], a vector as one row.
"""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

import torch
from torch import Tensor

from training.files.safetensors_header import TensorEntry
from training.merge.disk.file_io import read_at
from training.merge.inputs.files import FileLayout
from training.merge.planning.changes import Change, PairChange

if TYPE_CHECKING:
    from typing_extensions import Buffer

DTYPES = {
    "BF16": torch.bfloat16,
    "F16": torch.float16,
    "F32": torch.float32,
    "F64": torch.float64,
}


class Delta(Protocol):
    """The change of a tensor of shape [rows, columns]."""

    columns: int

    def add_rows(self, rows: slice, target: Tensor) -> None:
        """Add these rows of the change to `target`. The calls must cover each row exactly once."""
        ...

    def root_mean_square(self) -> float:
        """Return the RMS of the whole change; call after all rows have been added."""
        ...

    def exact(self, row: int, columns: slice) -> tuple[Tensor, Tensor]:
        """Return some columns of one row of the change, calculated in fp64.

        Also return, for each value, the sum of the magnitudes of the terms that add up to it: the
        larger this sum, the larger the rounding error in fp32.
        """
        ...


class LowRankDelta:
    """The change that a pair of LoRA matrices makes, `scale * up @ down`."""

    def __init__(self, up: Tensor, down: Tensor, scale: float) -> None:
        # Scale `up` here, because `addmm(alpha=scale)` scales before or after the product,
        # depending on the processor and the number of rows: a block of rows would round differently
        # from the whole matrix.
        self._up, self._down = up.flatten(1) * scale, down.flatten(1)
        self.columns = self._down.shape[1]

    def add_rows(self, rows: slice, target: Tensor) -> None:
        # This takes one pass over memory; storing the product and then adding it would take three.
        torch.addmm(target, self._up[rows], self._down, out=target)

    def root_mean_square(self) -> float:
        """Return the RMS of the whole change without computing `up @ down`.

        The sum of the squares of `up @ down` equals the sum of all elements of
        `(up.T @ up) * (down @ down.T)`, which are [r, r] matrices.
        """
        up, down = self._up.double(), self._down.double()
        squares = ((up.T @ up) * (down @ down.T)).sum().clamp(min=0)
        return math.sqrt(squares / (len(up) * self.columns))

    def exact(self, row: int, columns: slice) -> tuple[Tensor, Tensor]:
        up, down = self._up[row].double(), self._down[:, columns].double()
        return up @ down, up.abs() @ down.abs()


class FullDelta:
    """The change `scale * diff`, where diff has the shape of the tensor that it changes.

    diff is as large as that tensor, so it is read block by block.
    """

    def __init__(self, path: Path, diff: TensorEntry, scale: float) -> None:
        self._path, self._diff, self._scale = path, diff, scale
        rows = diff.shape[0] if len(diff.shape) > 1 else 1
        self.columns = diff.elements // max(1, rows)
        self._squares = 0.0

    def add_rows(self, rows: slice, target: Tensor) -> None:
        values = load_part(self._path, self._diff, rows.start * self.columns, target.numel())
        values = values.view_as(target).to(target.dtype)
        target.add_(values, alpha=self._scale)
        self._squares += float(values.double().square().sum())

    def root_mean_square(self) -> float:
        return abs(self._scale) * math.sqrt(self._squares / max(1, self._diff.elements))

    def exact(self, row: int, columns: slice) -> tuple[Tensor, Tensor]:
        first, count = row * self.columns + columns.start, columns.stop - columns.start
        values = load_part(self._path, self._diff, first, count).double() * self._scale
        return values, values.abs()


def load_delta(change: Change, lora: FileLayout, dtype: torch.dtype) -> Delta:
    """Return a change whose rows can be added one by one; convert its factors to `dtype`."""
    if isinstance(change, PairChange):
        down, up = (
            load_part(lora.path, part, 0, part.elements).view(part.shape).to(dtype)
            for part in change.parts
        )
        return LowRankDelta(up, down, change.scale)
    return FullDelta(lora.path, change.diff, change.scale)


def load_part(path: Path, spec: TensorEntry, first: int, count: int) -> Tensor:
    """Return `count` values of a tensor, starting at element `first`."""
    values = torch.empty(count, dtype=DTYPES[spec.dtype])
    with path.open("rb", buffering=0) as file:
        read_at(file.fileno(), byte_view(values), spec.start + first * values.element_size())
    return values


def byte_view(values: Tensor) -> memoryview:
    """Return the bytes of a contiguous tensor, without a copy."""
    flat = values.flatten().view(torch.uint8).numpy()
    # A cast, because numpy's types declare the buffer protocol only from Python 3.12 on.
    return memoryview(cast("Buffer", flat))
