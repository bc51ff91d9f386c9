"""Ties buttons about datasets to their server, so that a forwarded copy does not work elsewhere."""

import hashlib

from training.errors import RequestError

# The part of a button's id that names a dataset version or checked upload, with its seal.
SEALED = r"(?P<about>[a-z0-9_-]{1,64}(?:@\d{1,6})?):(?P<seal>\w{8})"


def sealed(guild: str, about: str) -> str:
    """Return a hash of the guild and of what a button acts on."""
    return hashlib.sha256(f"{guild}/{about}".encode()).hexdigest()[:8]


def require_own(guild: str, about: str, seal: str) -> None:
    """Raise `RequestError` if a button was made in another guild."""
    if seal != sealed(guild, about):
        raise RequestError(
            "This button belongs to a dataset on another server.",
            "Use /dataset show for this server's datasets.",
        )
