"""Explains failed Hub downloads."""

from urllib.parse import urlsplit

from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from training.catalogue.models import WeightFile
from training.errors import StageError
from training.files.disk_space import NOTHING_LOST
from training.remedies import ResumeRun

_TOKENS_PAGE = "https://huggingface.co/settings/tokens"


def explain(error: Exception, weight: WeightFile, endpoint: str) -> StageError:
    """Explain a failed request."""
    if isinstance(error, HfHubHTTPError):
        return _refused(error, weight, endpoint)
    if isinstance(error, OfflineModeIsEnabled):
        return StageError(
            f"{weight.file} is not there yet, and HF_HUB_OFFLINE forbids to fetch it.",
            "Unset HF_HUB_OFFLINE, then resume the run.",
            ResumeRun(),
        )
    return StageError(
        f"{weight.file} could not be fetched from {endpoint}: {_first_line(error)}",
        f"Check the network, then resume the run. {NOTHING_LOST}",
        ResumeRun(),
    )


def _refused(error: HfHubHTTPError, weight: WeightFile, endpoint: str) -> StageError:
    page = f"{endpoint}/{weight.repo}"
    status = error.response.status_code
    if status in (401, 403) and error.response.url.netloc.decode() != urlsplit(endpoint).netloc:
        return StageError(
            f"The storage behind the Hub refuses {weight.file} of {weight.repo} (HTTP {status}): "
            "its link holds for a while only.",
            f"Resume the run to get a new link. {NOTHING_LOST}",
            ResumeRun(),
        )
    match error:
        case GatedRepoError():
            return StageError(
                f"{weight.repo} gives {weight.file} only to those who agreed to its licence.",
                f"Agree on {page} and set HF_TOKEN to a token of that account ({_TOKENS_PAGE}).",
            )
        case RevisionNotFoundError():
            return StageError(
                f"{weight.repo} has no revision {weight.revision}.",
                f"Look on {page}/commits/main which there are; the catalogue may need a newer one.",
            )
        case RemoteEntryNotFoundError():
            return StageError(
                f"{weight.repo} has no file {weight.file} at {weight.revision}.",
                f"Look on {page}/tree/{weight.revision} how it is called.",
            )
        case RepositoryNotFoundError():
            return StageError(
                f"There is no repository {weight.repo}, or it is private.",
                f"Check the name on {page}; for a private one set HF_TOKEN to a token that may "
                f"read it ({_TOKENS_PAGE}).",
            )
        case _ if status in (401, 403):
            return StageError(
                f"The Hub does not accept the HF_TOKEN for {weight.repo} (HTTP {status}).",
                f"Set it to a valid token that may read {page} ({_TOKENS_PAGE}).",
            )
        case _:
            return StageError(
                f"The Hub answered HTTP {status} for {weight.file} of {weight.repo}.",
                f"Resume the run in a few minutes. {NOTHING_LOST}",
                ResumeRun(),
            )


def damaged(weight: WeightFile) -> StageError:
    """Return the error for a download that does not match the Hub's hash."""
    return StageError(
        f"{weight.file} arrived damaged: its hash is not the one that the Hub names.",
        "Resume the run to fetch it again. If that fails too, look for a proxy in between.",
        ResumeRun(),
    )


def other_file(weight: WeightFile) -> StageError:
    """Return the error for a file that does not match the catalogue's hash."""
    return StageError(
        f"{weight.file} of {weight.repo} at {weight.revision} is not the file of the catalogue: "
        "its SHA-256 is another.",
        "Check HF_ENDPOINT; do not use the file before its origin is clear.",
    )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{(lines[0] if lines else type(error).__name__).rstrip('.')}."
