"""Parses the name of a Lightning file: a path, a repository with a path, or a URL."""

import re
from urllib.parse import unquote

from training.catalogue.weights import WeightFile
from training.errors import RequestError

REPO = r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*"
FILE = r"[\w-][\w. -]*(?:/[\w-][\w. -]*)*\.safetensors"
REVISION = r"\w[\w.-]*(?:/\w[\w.-]*)*"
FORMS = "a path, owner/repo:path or a Hugging Face URL"

_OF_REPO = re.compile(f"(?P<repo>{REPO}):(?P<file>{FILE})")
_ADDRESS = re.compile(
    r"https?://(?:www\.)?(?:huggingface|hf)\.co/(?P<repo>[^/?#]+/[^/?#]+)/(?:blob|resolve)/"
    r"(?P<revision>[^/?#]+)/(?P<file>[^?#]+)(?:[?#].*)?"
)


def find_lightning_file(text: str, default: WeightFile) -> WeightFile:
    """Return the file that `text` names by path, by repository and path, or by URL.

    A path alone means a file in the repository of `default`, at its pinned commit. In the other
    forms, the revision is the one in the URL, or `main`.

    Raises:
        RequestError: `text` has none of these forms.
    """
    if re.fullmatch(FILE, text):
        return WeightFile(default.repo, text, default.revision)
    if (match := _OF_REPO.fullmatch(text)) is not None:
        return WeightFile(match["repo"], match["file"])
    if (file := _at_address(text)) is not None:
        return file
    shown = text if len(text) <= 120 else f"{text[:120]}…"
    raise RequestError(
        f"lightning-file cannot be {shown!r}.",
        f"Give a Lightning file that ends in .safetensors as a path in {default.repo}, as "
        "owner/repo:path/file.safetensors, or as a URL such as "
        "https://huggingface.co/owner/repo/blob/main/path/file.safetensors. Give one for all "
        "experts, or high=… low=….",
    )


def _at_address(text: str) -> WeightFile | None:
    match = _ADDRESS.fullmatch(text)
    if match is None:
        return None
    repo, revision, file = (unquote(match[part]) for part in ("repo", "revision", "file"))
    parts = ((REPO, repo), (REVISION, revision), (FILE, file))
    if not all(re.fullmatch(form, part) for form, part in parts):
        return None
    return WeightFile(repo, file, revision)
