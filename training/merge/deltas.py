"""What a LoRA adds to one tensor, as rows of numbers; tensors count as [out, the rest]."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

import torch
from torch import Tensor

from training.merge.changes import Change, PairChange
from training.merge.layout import FileLayout, TensorSpec
from training.merge.transfer import read_at

if TYPE_CHECKING:
    from typing_extensions import Buffer

DTYPES = {
    "BF16": torch.bfloat16,
    "F16": torch.float16,
    "F32": torch.float32,
    "F64": torch.float64,
}


class Delta(Protocol):
    """What is added to a tensor of shape [rows, columns]."""

    columns: int

    def write_rows(self, rows: slice, target: Tensor) -> None:
        """Write the given rows of the change into `target`."""
        ...

    def exact(self, row: int, columns: slice) -> tuple[Tensor, Tensor]:
        """Return part of one row in fp64, and the same with every term made positive."""
        ...


class LowRankDelta:
    """The product of a LoRA pair, `scale * up @ down`."""

    def __init__(self, up: Tensor, down: Tensor, scale: float) -> None:
        self._up, self._down, self._scale = up.flatten(1), down.flatten(1), scale
        if math.frexp(scale)[0] == 0.5:  # a power of two: exact wherever it is multiplied
            self._up, self._scale = self._up * scale, 1.0
        self.columns = self._down.shape[1]

    def write_rows(self, rows: slice, target: Tensor) -> None:
        """Write the given rows of the change into `target`."""
        torch.mm(self._up[rows], self._down, out=target)
        if self._scale != 1:
            target.mul_(self._scale)

    def exact(self, row: int, columns: slice) -> tuple[Tensor, Tensor]:
        """Return part of one row in fp64, and the same with every term made positive."""
        up, down = self._up[row].double(), self._down[:, columns].double()
        return self._scale * (up @ down), abs(self._scale) * (up.abs() @ down.abs())


class FullDelta:
    """A difference of the tensor's own shape, times `scale`."""

    def __init__(self, values: Tensor, scale: float) -> None:
        self._values = values.flatten(1) if values.dim() > 1 else values.reshape(1, -1)
        self._scale = scale
        self.columns = self._values.shape[1]

    def write_rows(self, rows: slice, target: Tensor) -> None:
        """Write the given rows of the change into `target`."""
        torch.mul(self._values[rows], self._scale, out=target)

    def exact(self, row: int, columns: slice) -> tuple[Tensor, Tensor]:
        """Return part of one row in fp64, and the same with every term made positive."""
        values = self._values[row, columns].double() * self._scale
        return values, values.abs()


def load_delta(change: Change, lora: FileLayout, dtype: torch.dtype) -> Delta:
    """Return the change with the LoRA's tensors read and converted to `dtype`."""
    factors = [load_tensor(lora.path, part).to(dtype) for part in change.parts]
    if isinstance(change, PairChange):
        down, up = factors
        return LowRankDelta(up, down, change.scale)
    return FullDelta(factors[0], change.scale)


def load_tensor(path: Path, spec: TensorSpec) -> Tensor:
    """Return the tensor at `spec`, in memory of its own."""
    values = torch.empty(spec.shape, dtype=DTYPES[spec.dtype])
    with path.open("rb", buffering=0) as file:
        read_at(file.fileno(), byte_view(values), spec.start)
    return values


def byte_view(values: Tensor) -> memoryview:
    """Return the bytes of a contiguous tensor, shared with it."""
    flat = values.flatten().view(torch.uint8).numpy()
    return memoryview(cast("Buffer", flat))  # numpy declares the buffer protocol from 3.12 on
