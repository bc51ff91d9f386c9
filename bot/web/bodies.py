"""Reads the JSON bodies that a page's scripts send."""

from typing import TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict, ValidationError

from training.errors import RequestError


class Body(BaseModel):
    """The body of a request; unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


BodyKind = TypeVar("BodyKind", bound=Body)


async def read_body(request: web.Request, kind: type[BodyKind]) -> BodyKind:
    """Return the body of a request.

    Raises:
        RequestError: It is not JSON, or not of this kind.
    """
    try:
        return kind.model_validate_json(await request.read())
    except ValidationError as error:
        raise RequestError(
            "The bot does not understand this request.", "Reload the page."
        ) from error
