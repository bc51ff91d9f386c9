"""Whether a merged model is still, byte for byte, what its receipt says."""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from training.errors import MergeError
from training.merge.base_files import BaseFiles, read_base
from training.merge.layout import listed
from training.merge.receipt import Receipt, fold_digests
from training.merge.transfer import tensor_sha256

_FIX = "Delete the merged model and its receipt, and merge again."


def verify(output: Path, receipt: Receipt) -> None:
    """Read the whole of `output` and compare it with `receipt`.

    Raises:
        MergeError: It names what differs.
    """
    files = check_outline(output, receipt)
    tensors = list(files.tensors)
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        paths, specs = [file.path for file, _ in tensors], [spec for _, spec in tensors]
        found = list(pool.map(tensor_sha256, paths, specs))
    written = dict(zip((spec.name for spec in specs), found, strict=True))
    differing = [name for name, digest in written.items() if receipt.tensor_sha256[name] != digest]
    if differing:
        raise MergeError(
            f"{len(differing)} of {len(tensors)} tensors of {output.name} are not what the "
            f"receipt says: {listed(differing)}.",
            _FIX,
        )
    if fold_digests(found) != receipt.output_digest:
        raise MergeError(f"The tensors of {output.name} are in another order.", _FIX)


def check_outline(output: Path, receipt: Receipt) -> BaseFiles:
    """Compare sizes, names, shapes and dtypes with `receipt`, without reading the tensors.

    Raises:
        MergeError: It names what differs.
    """
    files = read_base(output)
    size = sum(file.size_bytes for file in files.files)
    if size != receipt.bytes:
        raise MergeError(f"{output.name} has {size} bytes, its receipt {receipt.bytes}.", _FIX)
    names = {spec.name for _, spec in files.tensors}
    if differing := names ^ receipt.tensor_sha256.keys():
        raise MergeError(
            f"{output.name} and its receipt disagree on {len(differing)} tensors: "
            f"{listed(differing)}.",
            _FIX,
        )
    if header_sha256(files) != receipt.header_sha256:
        raise MergeError(f"Shapes or dtypes of {output.name} are not those merged.", _FIX)
    return files


def header_sha256(files: BaseFiles) -> str:
    """Return the digest over the headers of all files."""
    return fold_digests(hashlib.sha256(file.header).hexdigest() for file in files.files)
