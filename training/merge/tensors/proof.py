"""Checks merged tensors by reading some values back and recomputing them in fp64."""

import zlib

import torch
from torch import Tensor

from training.errors import MergeError
from training.files.safetensors_header import TensorEntry
from training.merge.disk.file_io import read_at
from training.merge.tensors.deltas import DTYPES, Delta, byte_view

_SAMPLED_COLUMNS = 256
# Largest rounding error of an fp32 sum of a few hundred products, relative to the sum of their
# magnitudes.
_FP32_SLACK = 2.0**-22


def sample_errors(spec: TensorEntry, delta: Delta, before: int, after: int) -> tuple[float, int]:
    """Recompute some values of three rows in fp64 and compare them with the written values.

    The rows are the first, the last and one chosen by the tensor's name.

    Args:
        spec: The tensor, which has the same offset in both files.
        delta: The change that the merge added.
        before: Descriptor of the base file.
        after: Descriptor of the output file.

    Returns:
        The largest absolute error, and the number of values compared.

    Raises:
        MergeError: A written value is off by more than rounding explains.
    """
    if spec.elements == 0:
        return 0.0, 0
    place = zlib.crc32(spec.name.encode())
    first = place % max(1, delta.columns - _SAMPLED_COLUMNS + 1)
    columns = slice(first, min(first + _SAMPLED_COLUMNS, delta.columns))
    rows = spec.elements // delta.columns
    largest, compared = 0.0, 0
    for row in sorted({0, rows - 1, place % rows}):
        errors = _row_errors(spec, delta, row, columns, (before, after))
        largest, compared = max(largest, errors.max().item()), compared + len(errors)
    return largest, compared


def _row_errors(
    spec: TensorEntry, delta: Delta, row: int, columns: slice, files: tuple[int, int]
) -> Tensor:
    old, new = (_read(file, spec, row * delta.columns, columns) for file in files)
    change, terms = delta.exact(row, columns)
    errors = (old + change - new).abs()
    allowed = _ulp(old + change, DTYPES[spec.dtype]) + _FP32_SLACK * (old.abs() + terms)
    if not bool((errors <= allowed).all()):
        raise MergeError(
            f"{spec.name} was written incorrectly: a value is off by {errors.max().item():.3g}.",
            "Check this machine's memory and disk, then merge again.",
        )
    return errors


def _read(file: int, spec: TensorEntry, first: int, columns: slice) -> Tensor:
    dtype = DTYPES[spec.dtype]
    values = torch.empty(columns.stop - columns.start, dtype=dtype)
    read_at(file, byte_view(values), spec.start + (first + columns.start) * dtype.itemsize)
    return values.double()


def _ulp(values: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the distance from each value to the next larger number of `dtype` (its ulp)."""
    info = torch.finfo(dtype)
    _, exponents = torch.frexp(values)
    magnitude = torch.ldexp(torch.ones_like(values), exponents - 1)
    return magnitude.clamp(min=info.smallest_normal) * info.eps
