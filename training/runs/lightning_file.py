"""Parses the Lightning file setting, in the forms people write it."""

import re
from urllib.parse import unquote

from training.catalogue.weights import WeightFile
from training.errors import RequestError

REPO = r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*"
FILE = r"[\w-][\w. -]*(?:/[\w-][\w. -]*)*\.safetensors"
REVISION = r"\w[\w.-]*(?:/\w[\w.-]*)*"
FORMS = "a path, owner/repo:path or its Hugging Face address"

_OF_REPO = re.compile(f"(?P<repo>{REPO}):(?P<file>{FILE})")
_ADDRESS = re.compile(
    r"https?://(?:www\.)?(?:huggingface|hf)\.co/(?P<repo>[^/?#]+/[^/?#]+)/(?:blob|resolve)/"
    r"(?P<revision>[^/?#]+)/(?P<file>[^?#]+)(?:[?#].*)?"
)


def find_lightning_file(text: str, own: WeightFile) -> WeightFile:
    """Return the file that `text` names by path, by repository and path, or by URL.

    A bare path refers to the default file's repository at its pinned commit; otherwise the
    revision is `main` unless the URL names another.

    Args:
        text: The value for one expert.
        own: The model's default file.

    Raises:
        RequestError: `text` has none of these forms.
    """
    if re.fullmatch(FILE, text):
        return WeightFile(own.repo, text, own.revision)
    if (match := _OF_REPO.fullmatch(text)) is not None:
        return WeightFile(match["repo"], match["file"])
    if (file := _at_address(text)) is not None:
        return file
    shown = text if len(text) <= 120 else f"{text[:120]}…"
    raise RequestError(
        f"lightning-file cannot be {shown!r}.",
        f"Give a Lightning file that ends in .safetensors as the path of one in {own.repo}, as "
        "owner/repo:path/file.safetensors, or as its address such as "
        "https://huggingface.co/owner/repo/blob/main/path/file.safetensors: one for all experts, "
        "or high=… low=….",
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
