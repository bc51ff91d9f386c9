"""Checks over HTTP whether a bot is healthy."""

import httpx

_SECONDS = 20.0


def why_unwell(url: str) -> str | None:
    """Return why the bot at `url` is unhealthy; None if it is healthy."""
    try:
        answer = httpx.get(f"{url}/health", timeout=_SECONDS)
    except httpx.HTTPError as error:
        return f"does not answer ({error!r})"
    if answer.is_success:
        return None
    return f"answers {answer.status_code}: {answer.text[:200].strip().rstrip('.')}"
