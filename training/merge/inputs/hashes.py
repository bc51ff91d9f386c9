"""SHA-256 of a merge's inputs, computed in the background."""

import hashlib
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event
from typing import Literal, Self

from training.files.hashing import file_sha256
from training.merge.inputs.files import BaseFiles, FileLayout
from training.merge.request import MergeRequest


class InputHashes:
    """The hashes of base and LoRA: from the request if given, else computed in the background.

    As a context manager, it stops computing if its block raises an error.

    Attributes:
        stop: Set when the merge has failed; ends the computation.
        known: The inputs whose hash was given in the request, and therefore not computed.
    """

    def __init__(self, request: MergeRequest, base: BaseFiles, lora: FileLayout) -> None:
        self.stop = Event()
        self._base_sha256, self._lora_sha256 = request.base_sha256, request.lora_sha256
        self.known: tuple[Literal["base", "lora"], ...] = (
            *(("base",) if self._base_sha256 else ()),
            *(("lora",) if self._lora_sha256 else ()),
        )
        self._pool = ThreadPoolExecutor(len(base.files) + 1, "hash")
        self._base = {} if self._base_sha256 else {f.path.name: self._start(f) for f in base.files}
        self._lora = None if self._lora_sha256 else self._start(lora)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self.stop.set()
        self._pool.shutdown(cancel_futures=True)

    @property
    def base_sha256(self) -> str:
        """The hash of the base; waits until it is computed."""
        if self._base_sha256 is None:
            digests = {name: digest.result() for name, digest in self._base.items()}
            self._base_sha256 = combined_sha256(digests)
        return self._base_sha256

    @property
    def lora_sha256(self) -> str:
        """The hash of the LoRA; waits until it is computed."""
        if self._lora_sha256 is None and self._lora is not None:
            self._lora_sha256 = self._lora.result()
        return self._lora_sha256 or ""

    def _start(self, file: FileLayout) -> Future[str]:
        return self._pool.submit(file_sha256, file.path, self.stop)


def combined_sha256(by_name: Mapping[str, str]) -> str:
    """Return one SHA-256 for all files of a model, given each file's SHA-256 by name.

    A single file keeps its own hash. For several files, the result is the hash of the lines that
    `sha256sum` prints for them, sorted by name.
    """
    if len(by_name) == 1:
        return next(iter(by_name.values()))
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(by_name.items()))
    return hashlib.sha256(lines.encode()).hexdigest()
