"""Discord's rate limits: per route and major parameter, global, and for edits of old messages."""

import hashlib
from collections import deque
from dataclasses import dataclass, field

from bot.sandbox.wire import ApiError, Clock, Json, created_at

GLOBAL_PER_SECOND = 50
OLD_AFTER_SECONDS = 60 * 60
_OLD_EDITS, _OLD_WINDOW = 3, 6.0
_DEFAULT = (50, 1.0)
# The requests and the seconds of each limit, as observed; Discord does not publish its limits.
_KNOWN = {
    "POST /channels/{channel_id}/messages": (5, 5.0),
    "PATCH /channels/{channel_id}/messages/{message_id}": (5, 5.0),
    "DELETE /channels/{channel_id}/messages/{message_id}": (5, 1.0),
    "POST /channels/{channel_id}/messages/{message_id}/threads": (10, 10.0),
    "POST /channels/{channel_id}/threads": (10, 10.0),
    "POST /users/@me/channels": (10, 10.0),
    "POST /webhooks/{webhook_id}/{webhook_token}": (5, 2.0),
    "PATCH /webhooks/{webhook_id}/{webhook_token}/messages/@original": (5, 2.0),
    "PATCH /webhooks/{webhook_id}/{webhook_token}/messages/{message_id}": (5, 2.0),
}
_MAJOR = ("channel_id", "guild_id", "webhook_id", "webhook_token")


@dataclass(slots=True)
class _Bucket:
    limit: int
    seconds: float
    used: int = 0
    resets_at: float = 0.0


@dataclass(slots=True)
class RateLimits:
    """Counts requests and refuses those over a limit with error 429."""

    clock: Clock
    _buckets: dict[str, _Bucket] = field(default_factory=dict[str, _Bucket])
    _recent: deque[float] = field(default_factory=deque[float])
    _old_edits: dict[str, deque[float]] = field(default_factory=dict[str, deque[float]])
    _refused: dict[str, list[float]] = field(default_factory=dict[str, list[float]])

    def take(self, route: str, parameters: dict[str, str]) -> dict[str, str]:
        """Count one request and return its rate-limit headers; raise error 429 over a limit."""
        if not route.startswith(("POST /interactions", "POST /webhooks", "PATCH /webhooks")):
            self._take_global()
        self._take_refusal(parameters)
        now = self.clock()
        bucket = self._bucket(route, parameters)
        if now >= bucket.resets_at:
            bucket.used, bucket.resets_at = 0, now + bucket.seconds
        headers = self._headers(route, bucket, now)
        if bucket.used >= bucket.limit:
            raise _limited(bucket.resets_at - now, headers | {"X-RateLimit-Scope": "user"})
        bucket.used += 1
        return self._headers(route, bucket, now)

    def refuse_channel(self, channel_id: str, seconds: float, requests: int) -> None:
        """Answer the next `requests` requests to a channel with 429 and a wait of `seconds`."""
        self._refused[channel_id] = [seconds] * requests

    def _take_refusal(self, parameters: dict[str, str]) -> None:
        if waits := self._refused.get(parameters.get("channel_id", "")):
            raise _limited(waits.pop(), {"X-RateLimit-Scope": "shared"})

    def take_old_edit(self, channel_id: str, message_id: str) -> None:
        """Count the edit of a message; raise error 30046 if old messages are edited too often.

        Messages older than an hour may be edited 3 times in 6 s.
        """
        now = self.clock()
        if now - created_at(message_id) <= OLD_AFTER_SECONDS:
            return
        edits = self._old_edits.setdefault(channel_id, deque())
        while edits and edits[0] <= now - _OLD_WINDOW:
            edits.popleft()
        if len(edits) >= _OLD_EDITS:
            error = _limited(edits[0] + _OLD_WINDOW - now, {"X-RateLimit-Scope": "shared"})
            error.code = 30046
            text = "Maximum number of edits to messages older than 1 hour reached."
            error.message = f"{text} Try again later"
            raise error
        edits.append(now)

    def _take_global(self) -> None:
        now = self.clock()
        while self._recent and self._recent[0] <= now - 1:
            self._recent.popleft()
        if len(self._recent) >= GLOBAL_PER_SECOND:
            error = _limited(self._recent[0] + 1 - now, {"X-RateLimit-Scope": "global"})
            error.headers["X-RateLimit-Global"] = "true"
            error.extra["global"] = True
            raise error
        self._recent.append(now)

    def _bucket(self, route: str, parameters: dict[str, str]) -> _Bucket:
        major = ":".join(parameters.get(name, "") for name in _MAJOR)
        limit, seconds = _KNOWN.get(route, _DEFAULT)
        return self._buckets.setdefault(f"{route}:{major}", _Bucket(limit, seconds))

    def _headers(self, route: str, bucket: _Bucket, now: float) -> dict[str, str]:
        return {
            "X-RateLimit-Limit": str(bucket.limit),
            "X-RateLimit-Remaining": str(max(0, bucket.limit - bucket.used)),
            "X-RateLimit-Reset": f"{bucket.resets_at:.3f}",
            "X-RateLimit-Reset-After": f"{max(0.0, bucket.resets_at - now):.3f}",
            "X-RateLimit-Bucket": hashlib.sha256(route.encode()).hexdigest()[:32],
        }


def _limited(seconds: float, headers: dict[str, str]) -> ApiError:
    wait = round(max(seconds, 0.001), 3)
    error = ApiError(429, 0, "You are being rate limited.")
    extra: Json = {"retry_after": wait, "global": False}
    error.extra = extra
    # Without `Via`, discord.py mistakes a 429 for a Cloudflare ban.
    error.headers = headers | {"Retry-After": str(max(1, round(wait))), "Via": "1.1 sandbox"}
    return error
