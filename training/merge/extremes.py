"""The least and the largest number of each block of a tensor, which tell of NaN as well."""

import torch
from torch import Tensor


class Extremes:
    """What the blocks of one tensor say of themselves, read when all are through.

    Reading a number at once would cost every block two more turns at the lock that Python's
    threads share; with 16 threads waiting for it is a third of the time.
    """

    def __init__(self, blocks: int, dtype: torch.dtype) -> None:
        self._values = torch.zeros(2, blocks, dtype=dtype)
        self._places = list(zip(*(row.unbind() for row in self._values), strict=True))

    def note(self, block: int, values: Tensor) -> None:
        """Take down the extremes of `values`, which has one dimension and is not empty."""
        torch.aminmax(values, out=self._places[block])

    @property
    def are_finite(self) -> bool:
        """Whether no value of any block is NaN or infinite."""
        return is_finite(self._values)


def is_finite(values: Tensor) -> bool:
    """Tell whether no value is NaN or infinite."""
    # NaN is both extremes of what holds one. `isfinite` of all would fill new memory.
    return values.numel() == 0 or bool(torch.isfinite(torch.stack(torch.aminmax(values))).all())
