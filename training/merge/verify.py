"""Verifies a merged model against its receipt, byte by byte."""

import hashlib
import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from training.errors import MergeError
from training.files.parallel import usable_cores
from training.files.safetensors_header import TensorEntry
from training.files.sizes import GIB
from training.merge.disk.file_io import tensor_sha256
from training.merge.inputs.files import BaseFiles, FileLayout, read_base
from training.merge.receipt import Receipt, fold_digests
from training.wording import agreeing, count, listed

_SAMPLE_BYTES = GIB
_FIX = "Delete the merged model and its receipt, and merge again."


OnBytes = Callable[[int, int], None]


def _ignore(done: int, whole: int) -> None:
    pass


def verify(output: Path, receipt: Receipt, *, on_progress: OnBytes = _ignore) -> None:
    """Read all of `output` and compare it with `receipt`.

    Args:
        output: The merged model.
        receipt: Its receipt.
        on_progress: Called with the bytes read so far and the total.

    Raises:
        MergeError: The output differs from the receipt; the message names the difference.
    """
    files = check_outline(output, receipt)
    found = _compare(output, receipt, list(files.tensors), on_progress)
    if fold_digests(found) != receipt.output_digest:
        raise MergeError(f"The tensors of {output.name} are in a different order.", _FIX)


def check_sample(output: Path, receipt: Receipt) -> None:
    """Compare about 1 GiB of tensors of `output`, chosen at random, with `receipt`.

    Raises:
        MergeError: A tensor differs from the receipt; the message names it.
    """
    tensors = list(check_outline(output, receipt).tensors)
    random.shuffle(tensors)
    chosen: list[tuple[FileLayout, TensorEntry]] = []
    for tensor in tensors:
        if sum(spec.size_bytes for _, spec in chosen) >= _SAMPLE_BYTES:
            break
        chosen.append(tensor)
    _compare(output, receipt, chosen, _ignore)


def _compare(
    output: Path,
    receipt: Receipt,
    tensors: Sequence[tuple[FileLayout, TensorEntry]],
    on_progress: OnBytes,
) -> list[str]:
    """Hash the tensors, compare the hashes with the receipt's, and return them in order."""
    paths, specs = [file.path for file, _ in tensors], [spec for _, spec in tensors]
    whole = sum(spec.size_bytes for spec in specs)
    found: list[str] = []
    done = 0
    with ThreadPoolExecutor(usable_cores()) as pool:
        for spec, digest in zip(specs, pool.map(tensor_sha256, paths, specs), strict=True):
            found.append(digest)
            done += spec.size_bytes
            on_progress(done, whole)
    written = dict(zip((spec.name for spec in specs), found, strict=True))
    differing = [name for name, digest in written.items() if receipt.tensor_sha256[name] != digest]
    if differing:
        raise MergeError(
            f"{len(differing)} of {count(len(tensors), 'tensor')} of {output.name} "
            f"{agreeing(len(differing), 'does not match the receipt')}: "
            f"{listed(sorted(differing))}.",
            _FIX,
        )
    return found


def check_outline(output: Path, receipt: Receipt) -> BaseFiles:
    """Compare sizes, names, shapes and dtypes with `receipt`, without reading the tensors.

    Raises:
        MergeError: The output differs from the receipt; the message names the difference.
    """
    try:
        files = read_base(output)
    except MergeError as error:
        raise MergeError(error.cause, _FIX) from error
    size = sum(file.size_bytes for file in files.files)
    if size != receipt.bytes:
        raise MergeError(
            f"{output.name} has {size} bytes, but its receipt says {receipt.bytes}.", _FIX
        )
    names = {spec.name for _, spec in files.tensors}
    if differing := names ^ receipt.tensor_sha256.keys():
        raise MergeError(
            f"{output.name} and its receipt disagree on {count(len(differing), 'tensor')}: "
            f"{listed(sorted(differing))}.",
            _FIX,
        )
    if header_sha256(files) != receipt.header_sha256:
        raise MergeError(f"Shapes or dtypes in {output.name} differ from the receipt.", _FIX)
    return files


def header_sha256(files: BaseFiles) -> str:
    """Return one SHA-256 for the headers of all files, in order."""
    return fold_digests(hashlib.sha256(file.header).hexdigest() for file in files.files)
