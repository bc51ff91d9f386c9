"""Resumable, verified downloads from the Hugging Face Hub.

`hf_hub_download` restarts an interrupted file from zero; a base model has 28 GB.
"""

import errno
import hashlib
import io
import os
import re
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
from huggingface_hub import (
    constants,
    get_hf_file_metadata,  # type: ignore[reportUnknownVariableType]  # one dict of it is untyped
    hf_hub_url,
)
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.file_download import (
    http_get,  # type: ignore[reportUnknownVariableType]  # its progress bar is untyped
)
from huggingface_hub.utils import (
    build_hf_headers,  # type: ignore[reportUnknownVariableType]  # one dict of it is untyped
    disable_progress_bars,
)

from training.catalogue.models import WeightFile
from training.errors import StageError
from training.files.atomic import atomic_symlink, atomic_write
from training.files.disk_space import disk_full, require_room
from training.files.hashing import file_sha256
from training.musubi.hub_errors import damaged, explain, other_file
from training.ports import Extent, Obtained

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file as the Hub describes it; `etag` is its SHA-256, or the git hash of a small file."""

    url: str
    commit: str
    size_bytes: int
    etag: str


class Hub:
    """The Hugging Face Hub or the mirror in `HF_ENDPOINT`; it receives `HF_TOKEN`.

    Args:
        endpoint: Base URL.
        is_patient: Retry for half a minute if it is unreachable.
    """

    def __init__(self, endpoint: str = constants.ENDPOINT, *, is_patient: bool = True) -> None:
        self._endpoint = endpoint
        self._is_patient = is_patient
        disable_progress_bars()

    def find(self, weight: WeightFile) -> HubFile:
        """Look up the location, size and hash of a file.

        Raises:
            StageError: The Hub is unreachable, refuses access, or has no such file.
        """
        url = hf_hub_url(
            weight.repo, weight.file, revision=weight.revision, endpoint=self._endpoint
        )
        with self._translated(weight):
            found = get_hf_file_metadata(url, retry_on_errors=self._is_patient)
        if found.size is None or found.etag is None or found.commit_hash is None:
            raise StageError(
                f"{self._endpoint} does not say what {weight.file} should hold.",
                "Check HF_ENDPOINT: it must name the Hugging Face Hub or a full mirror.",
            )
        if weight.sha256 and _SHA256.fullmatch(found.etag) and found.etag != weight.sha256:
            raise other_file(weight)
        return HubFile(found.location, found.commit_hash, found.size, found.etag)

    def extent(self, weight: WeightFile, target: Path) -> Extent:
        """Return a file's size and how many bytes an earlier call downloaded.

        Raises:
            StageError: As for `find`.
        """
        found = self.find(weight)
        partial = _partial_path(target, found)
        return Extent(found.size_bytes, partial.stat().st_size if partial.is_file() else 0)

    def obtain(self, weight: WeightFile, target: Path, watch: Callable[[int], None]) -> Obtained:
        """Download a file to `target`, resuming an earlier download.

        Raises:
            StageError: The disk is full, the Hub refuses access, or the bytes are wrong.
        """
        found = self.find(weight)
        partial = _partial(target, found)
        require_room(target.parent, found.size_bytes - partial.stat().st_size, weight.file)
        with self._translated(weight, target.parent):
            self._download(found, partial, watch)
        sha256 = _checked(weight, found, partial)
        partial.replace(target)
        return Obtained(found.commit, sha256)

    def _download(self, found: HubFile, partial: Path, watch: Callable[[int], None]) -> None:
        headers = build_hf_headers()
        if urlsplit(found.url).netloc != urlsplit(self._endpoint).netloc:
            headers.pop("authorization", None)  # the storage behind the Hub uses signed URLs
        with _WatchedFile(partial, watch) as file:
            watch(file.tell())
            http_get(
                found.url,
                file,
                resume_size=file.tell(),
                headers=headers,
                expected_size=found.size_bytes,
            )
            os.fsync(file.fileno())

    @contextmanager
    def _translated(self, weight: WeightFile, folder: Path | None = None) -> Generator[None]:
        """Translate the client's exceptions."""
        try:
            yield
        except (HfHubHTTPError, httpx2.HTTPError) as error:
            raise explain(error, weight, self._endpoint) from error
        except OSError as error:
            if error.errno == errno.ENOSPC and folder is not None:
                raise disk_full(folder, weight.file) from error
            raise explain(error, weight, self._endpoint) from error


class _WatchedFile(io.FileIO):
    """A file that reports its length after every write."""

    def __init__(self, path: Path, watch: Callable[[int], None]) -> None:
        super().__init__(path, "ab")
        self._watch = watch

    def write(self, data: bytes, /) -> int:  # type: ignore[override]  # only bytes come here
        rest = memoryview(data)
        while rest:
            rest = rest[super().write(rest) :]
        self._watch(self.tell())
        return len(data)


def _partial_path(target: Path, found: HubFile) -> Path:
    return target.with_name(f".{target.name}.{found.etag[:16]}.partial")


def _partial(target: Path, found: HubFile) -> Path:
    """Return the partial download; partial files of other content are deleted."""
    partial = _partial_path(target, found)
    for other in target.parent.glob(f".{target.name}.*.partial"):
        if other != partial or other.stat().st_size > found.size_bytes:
            other.unlink()
    partial.touch()
    return partial


def _checked(weight: WeightFile, found: HubFile, partial: Path) -> str:
    """Return the SHA-256 of a complete download; delete a wrong one."""
    sha256 = file_sha256(partial)
    is_large = _SHA256.fullmatch(found.etag) is not None
    is_right = found.etag == (sha256 if is_large else _git_hash(partial))
    if not is_right or partial.stat().st_size != found.size_bytes:
        partial.unlink()
        raise damaged(weight)
    if weight.sha256 not in (None, sha256):
        partial.unlink()
        raise other_file(weight)
    return sha256


def _git_hash(path: Path) -> str:
    data = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def link_file(cache: Path, weight: WeightFile, commit: str, stored: Path) -> None:
    """Make the Hub cache serve `weight` from the file at `stored`.

    The trainer asks for `main`, whatever commit the file is pinned to.
    """
    repo = cache / f"models--{weight.repo.replace('/', '--')}"
    link = repo / "snapshots" / commit / weight.file
    atomic_symlink(link, os.path.relpath(stored, link.parent))
    reference = repo / "refs" / "main"
    reference.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(reference, commit.encode(), shared=True)
