"""Verification of a merged model against its receipt, byte by byte."""

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from training.errors import MergeError
from training.merge.disk.file_io import tensor_sha256
from training.merge.inputs.files import BaseFiles, read_base
from training.merge.receipt import Receipt, fold_digests
from training.wording import listed

_FIX = "Delete the merged model and its receipt, and merge again."


OnBytes = Callable[[int, int], None]


def _ignore(done: int, whole: int) -> None:
    pass


def verify(output: Path, receipt: Receipt, *, on_progress: OnBytes = _ignore) -> None:
    """Read all of `output` and compare it with `receipt`.

    Args:
        output: The merged model.
        receipt: Its receipt.
        on_progress: Called with the bytes of tensors read so far, and with their total.

    Raises:
        MergeError: Names what differs.
    """
    files = check_outline(output, receipt)
    tensors = list(files.tensors)
    paths, specs = [file.path for file, _ in tensors], [spec for _, spec in tensors]
    found: list[str] = []
    done = 0
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for spec, digest in zip(specs, pool.map(tensor_sha256, paths, specs), strict=True):
            found.append(digest)
            done += spec.size_bytes
            on_progress(done, files.data_bytes)
    written = dict(zip((spec.name for spec in specs), found, strict=True))
    differing = [name for name, digest in written.items() if receipt.tensor_sha256[name] != digest]
    if differing:
        raise MergeError(
            f"{len(differing)} of {len(tensors)} tensors of {output.name} do not match "
            f"the receipt: {listed(sorted(differing))}.",
            _FIX,
        )
    if fold_digests(found) != receipt.output_digest:
        raise MergeError(f"The tensors of {output.name} are in a different order.", _FIX)


def check_outline(output: Path, receipt: Receipt) -> BaseFiles:
    """Compare sizes, names, shapes and dtypes with `receipt`, without reading the tensors.

    Raises:
        MergeError: Names what differs.
    """
    try:
        files = read_base(output)
    except MergeError as error:
        raise MergeError(error.cause, _FIX) from error
    size = sum(file.size_bytes for file in files.files)
    if size != receipt.bytes:
        raise MergeError(f"{output.name} has {size} bytes, its receipt {receipt.bytes}.", _FIX)
    names = {spec.name for _, spec in files.tensors}
    if differing := names ^ receipt.tensor_sha256.keys():
        raise MergeError(
            f"{output.name} and its receipt disagree on {len(differing)} tensors: "
            f"{listed(sorted(differing))}.",
            _FIX,
        )
    if header_sha256(files) != receipt.header_sha256:
        raise MergeError(f"Shapes or dtypes of {output.name} are not those that were merged.", _FIX)
    return files


def header_sha256(files: BaseFiles) -> str:
    """Return the digest over the headers of all files."""
    return fold_digests(hashlib.sha256(file.header).hexdigest() for file in files.files)
