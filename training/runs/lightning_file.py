"""Which file of the Hugging Face Hub a Lightning setting names, in the forms people write it."""

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
    """Return the file that `text` names: by its path, by repository and path, or by its address.

    A path alone is one of the model's own repository, at the commit that this is pinned to;
    elsewhere the newest of `main` is meant unless an address names another revision.

    Args:
        text: What was given for one expert.
        own: The file that the model takes by itself.

    Raises:
        RequestError: The text has none of these forms.
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
