"""Resumable, verified downloads from the Hugging Face Hub.

This module does not use `hf_hub_download`, which would restart an interrupted download from the
beginning; a base model takes 28 GB.
"""

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
    get_hf_file_metadata,  # type: ignore[reportUnknownVariableType]  # has an untyped dict
    hf_hub_url,
)
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.file_download import (
    http_get,  # type: ignore[reportUnknownVariableType]  # its progress bar is untyped
)
from huggingface_hub.utils import (
    build_hf_headers,  # type: ignore[reportUnknownVariableType]  # has an untyped dict
    disable_progress_bars,
)

from training.catalogue.models import WeightFile
from training.errors import StageError
from training.files.atomic import publish
from training.files.disk_space import NOTHING_LOST, disk_full, is_full, require_room
from training.files.hashing import SHA256, file_sha256
from training.ports import Extent, Obtained
from training.remedies import ResumeRun

_TOKENS_PAGE = "https://huggingface.co/settings/tokens"


@dataclass(frozen=True, slots=True)
class HubFile:
    """What the Hub reports about a file; `etag` is the SHA-256, or the git hash of a small file."""

    url: str
    commit: str
    size_bytes: int
    etag: str


class Hub:
    """The Hugging Face Hub, or the mirror in `HF_ENDPOINT`; requests carry `HF_TOKEN`.

    Args:
        endpoint: Base URL of the Hub or mirror.
        is_patient: Whether to retry for half a minute if the Hub is unreachable.
    """

    def __init__(self, endpoint: str = constants.ENDPOINT, *, is_patient: bool = True) -> None:
        self._endpoint = endpoint
        self._is_patient = is_patient
        disable_progress_bars()

    def find(self, weight: WeightFile) -> HubFile:
        """Look up the location, size and hash of a file.

        Raises:
            StageError: The Hub is unreachable, refuses access, has no such file, or has one that
                differs from the catalogue's.
        """
        url = hf_hub_url(
            weight.repo, weight.file, revision=weight.revision, endpoint=self._endpoint
        )
        with self._translated(weight):
            found = get_hf_file_metadata(url, retry_on_errors=self._is_patient)
        if found.size is None or found.etag is None or found.commit_hash is None:
            raise StageError(
                f"{self._endpoint} does not report the size and hash of {weight.file}.",
                "Set HF_ENDPOINT to the Hugging Face Hub or a full mirror.",
            )
        if weight.sha256 and re.fullmatch(SHA256, found.etag) and found.etag != weight.sha256:
            raise _other_file(weight)
        return HubFile(found.location, found.commit_hash, found.size, found.etag)

    def extent(self, weight: WeightFile, target: Path) -> Extent:
        """Return a file's size, and how many of its bytes are already downloaded.

        Raises:
            StageError: See `find`.
        """
        found = self.find(weight)
        partial = _partial_path(target, found)
        return Extent(found.size_bytes, partial.stat().st_size if partial.is_file() else 0)

    def obtain(self, weight: WeightFile, target: Path, watch: Callable[[int], None]) -> Obtained:
        """Download a file to `target`; continue a download that was interrupted.

        Raises:
            StageError: The Hub is unreachable or refuses access, the disk is full, or the hash is
                wrong.
        """
        found = self.find(weight)
        partial = _partial(target, found)
        require_room(target.parent, found.size_bytes - partial.stat().st_size, weight.file)
        with self._translated(weight, target.parent):
            self._download(found, partial, watch)
        sha256 = _checked(weight, found, partial)
        publish(partial, target)
        return Obtained(found.commit, sha256)

    def _download(self, found: HubFile, partial: Path, watch: Callable[[int], None]) -> None:
        headers = build_hf_headers()
        if urlsplit(found.url).netloc != urlsplit(self._endpoint).netloc:
            # The URL leads to the storage behind the Hub. The URL is signed, so it needs no token.
            headers.pop("authorization", None)
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
        try:
            yield
        except (HfHubHTTPError, httpx2.HTTPError) as error:
            raise _explain(error, weight, self._endpoint) from error
        except OSError as error:
            if is_full(error) and folder is not None:
                raise disk_full(folder, weight.file) from error
            raise _explain(error, weight, self._endpoint) from error


class _WatchedFile(io.FileIO):
    """A file to append to, which passes its length to `watch` after every write."""

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
    """Return the partial download to continue; delete partial downloads of other versions."""
    partial = _partial_path(target, found)
    for other in target.parent.glob(f".{target.name}.*.partial"):
        if other != partial or other.stat().st_size > found.size_bytes:
            other.unlink()
    partial.touch()
    return partial


def _checked(weight: WeightFile, found: HubFile, partial: Path) -> str:
    """Return a download's SHA-256; if its hash or size is wrong, delete the file and raise."""
    sha256 = file_sha256(partial)
    is_large = re.fullmatch(SHA256, found.etag) is not None
    is_right = found.etag == (sha256 if is_large else _git_hash(partial))
    if not is_right or partial.stat().st_size != found.size_bytes:
        partial.unlink()
        raise _damaged(weight)
    if weight.sha256 not in (None, sha256):
        partial.unlink()
        raise _other_file(weight)
    return sha256


def _git_hash(path: Path) -> str:
    data = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def _explain(error: Exception, weight: WeightFile, endpoint: str) -> StageError:
    """Turn the exception of a failed request into an error with cause and fix."""
    if isinstance(error, HfHubHTTPError):
        return _refused(error, weight, endpoint)
    if isinstance(error, OfflineModeIsEnabled):
        return StageError(
            f"{weight.file} is not downloaded yet, and HF_HUB_OFFLINE forbids downloads.",
            "Unset HF_HUB_OFFLINE, then resume the run.",
            ResumeRun(),
        )
    return StageError(
        f"{weight.file} could not be downloaded from {endpoint}: {_first_line(error)}",
        f"Check the network connection, then resume the run. {NOTHING_LOST}",
        ResumeRun(),
    )


def _refused(error: HfHubHTTPError, weight: WeightFile, endpoint: str) -> StageError:
    page = f"{endpoint}/{weight.repo}"
    status = error.response.status_code
    if status in (401, 403) and error.response.url.netloc.decode() != urlsplit(endpoint).netloc:
        return StageError(
            f"The download link for {weight.file} of {weight.repo} has expired (HTTP {status}).",
            f"Resume the run to get a new link. {NOTHING_LOST}",
            ResumeRun(),
        )
    match error:
        case GatedRepoError():
            return StageError(
                f"Downloading {weight.file} requires accepting the licence of {weight.repo}.",
                f"Accept the licence on {page}, and set HF_TOKEN to a token of the account that "
                f"accepted it ({_TOKENS_PAGE}).",
            )
        case RevisionNotFoundError():
            return StageError(
                f"{weight.repo} has no revision {weight.revision}.",
                f"See {page}/commits/main for its revisions; the catalogue may be out of date.",
            )
        case RemoteEntryNotFoundError():
            return StageError(
                f"{weight.repo} has no file {weight.file} at {weight.revision}.",
                f"See {page}/tree/{weight.revision} for its files.",
            )
        case RepositoryNotFoundError():
            return StageError(
                f"The repository {weight.repo} does not exist or is private.",
                f"Check the name on {page}. If the repository is private, set HF_TOKEN to a token "
                f"with read access ({_TOKENS_PAGE}).",
            )
        case _ if status in (401, 403):
            return StageError(
                f"The Hub rejected the HF_TOKEN for {weight.repo} (HTTP {status}).",
                f"Set HF_TOKEN to a valid token with read access to {page} ({_TOKENS_PAGE}).",
            )
        case _:
            return StageError(
                f"The Hub answered HTTP {status} for {weight.file} of {weight.repo}.",
                f"Resume the run in a few minutes. {NOTHING_LOST}",
                ResumeRun(),
            )


def _damaged(weight: WeightFile) -> StageError:
    """Return the error for a download that does not match the Hub's hash."""
    return StageError(
        f"{weight.file} was damaged in transit: its hash differs from the Hub's.",
        "Resume the run to download it again. If that fails too, check whether a proxy changes "
        "downloads.",
        ResumeRun(),
    )


def _other_file(weight: WeightFile) -> StageError:
    """Return the error for a file that does not match the catalogue's hash."""
    return StageError(
        f"{weight.file} of {weight.repo} at {weight.revision} is not the file in the catalogue: "
        "its SHA-256 differs.",
        "Check HF_ENDPOINT, and do not use the file until you know where it comes from.",
    )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{(lines[0] if lines else type(error).__name__).rstrip('.')}."
