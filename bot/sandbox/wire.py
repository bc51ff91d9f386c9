"""JSON, timestamps, snowflake ids and API errors."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

# Objects of the API. Their fields are checked at run time, against Discord's OpenAPI document.
Json = dict[str, Any]
Clock = Callable[[], float]

EPOCH_MS = 1_420_070_400_000  # 2015-01-01, the epoch of Discord's ids
EPHEMERAL, LOADING, COMPONENTS_V2 = 1 << 6, 1 << 7, 1 << 15
SUPPRESS_EMBEDS, SILENT = 1 << 2, 1 << 12
MAX_FILE_BYTES = 10 * 1024 * 1024
MAX_REQUEST_BYTES = 25 * 1024 * 1024


def objects(value: Any) -> list[Json]:
    """Return a list field's value; [] if it is null or missing."""
    return value or []


def inner(record: Json, key: str) -> Json:
    """Return an object field's value; {} if it is null or missing."""
    return record.get(key) or {}


class ApiError(Exception):
    """An API error: HTTP status, numeric code, message, errors by field."""

    def __init__(self, status: int, code: int, message: str, errors: Json | None = None) -> None:
        super().__init__(status, code, message, errors)
        self.status, self.code, self.message, self.errors = status, code, message, errors
        self.headers: dict[str, str] = {}
        self.extra: Json = {}

    def body(self) -> Json:
        body: Json = {"message": self.message, "code": self.code, **self.extra}
        return body | {"errors": self.errors} if self.errors else body


def invalid(path: str, code: str, message: str) -> ApiError:
    """Return error 50035 for the field at `path`, e.g. `embeds.0.title`."""
    tree: Json = {"_errors": [{"code": code, "message": message}]}
    for part in reversed([part for part in path.split(".") if part]):
        tree = {part: tree}
    return ApiError(400, 50035, "Invalid Form Body", tree)


_UNKNOWN = {
    "Channel": 10003,
    "Guild": 10004,
    "Member": 10007,
    "Message": 10008,
    "Role": 10011,
    "User": 10013,
    "Webhook": 10015,
    "interaction": 10062,
    "application command": 10063,
}


def unknown(what: str) -> ApiError:
    """Return the 404 error for an unknown object; `what` is its kind, such as "Channel"."""
    return ApiError(404, _UNKNOWN[what], f"Unknown {what}")


def known(what: str, record: Json | None) -> Json:
    """Return `record`; raise the 404 error of `unknown(what)` if it is None."""
    if record is None:
        raise unknown(what)
    return record


def isoformat(seconds: float) -> str:
    """Return a timestamp in the API's format, with microseconds and offset."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")


class Snowflakes:
    """Generates increasing ids from the clock, unique across restarts."""

    def __init__(self, clock: Clock, last: int = 0) -> None:
        self._clock, self._last = clock, last

    def next(self) -> str:
        now = (int(self._clock() * 1000) - EPOCH_MS) << 22
        self._last = max(now, self._last + 1)
        return str(self._last)


def created_at(snowflake: str) -> float:
    """Return an id's creation time in Unix seconds."""
    return ((int(snowflake) >> 22) + EPOCH_MS) / 1000
