"""Whether a bot that runs elsewhere serves at its address."""

import httpx

_SECONDS = 20.0


def why_unwell(url: str) -> str | None:
    """Return why the bot at an address does not serve, None when it does."""
    try:
        answer = httpx.get(f"{url}/health", timeout=_SECONDS)
    except httpx.HTTPError as error:
        return f"does not answer ({error!r})"
    return (
        None
        if answer.is_success
        else f"answers {answer.status_code}: {answer.text[:200].strip().rstrip('.')}"
    )
