"""A captioner behind an OpenAI-compatible endpoint, such as Ollama or vLLM."""

import base64
import io
import logging
from collections.abc import Callable, Sequence
from http import HTTPStatus

import httpx
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_exponential_jitter,
)

from training.captioning.answers import caption_of
from training.captioning.captioner import CaptionerError, CaptionRequest, NoCaptionError
from training.captioning.templates import instructions

logger = logging.getLogger(__name__)
# A model on a small GPU may take minutes for a clip, and a server may first have to load it.
TIMEOUT = httpx.Timeout(300.0, connect=10.0)
TRIES = 5
WAIT = wait_exponential_jitter(initial=1.0, max=30.0)
_JPEG_QUALITY = 90
_MOST_TOKENS = 400
_TEMPERATURE = 0.2
_MOST_QUOTED = 200  # characters of an error message
_BUSY = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS)
# Servers answer so if the frames are too many or too large, or if a filter rejects them.
_REFUSED_SAMPLE = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
)
_REFUSED_KEY = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class _Message(_Model):
    content: str | None = None
    refusal: str | None = None


class _Choice(_Model):
    message: _Message
    finish_reason: str | None = None


class _Answer(_Model):
    choices: tuple[_Choice, ...] = Field(min_length=1)


class _TryAgainError(Exception):
    """The same request may succeed later."""


class EndpointCaptioner:
    """Sends frames as JPEG data URLs in chat completions."""

    asks_first = True

    def __init__(
        self,
        url: str,
        model: str,
        key: SecretStr | None = None,
        *,
        timeout: httpx.Timeout = TIMEOUT,
        wait: Callable[[RetryCallState], float] = WAIT,
    ) -> None:
        headers = {"Authorization": f"Bearer {key.get_secret_value()}"} if key else {}
        # Proxies and passwords of the environment are not meant for this endpoint.
        self._client = httpx.Client(headers=headers, timeout=timeout, trust_env=False)
        self._url, self._model, self._wait = url.rstrip("/"), model, wait

    @property
    def label(self) -> str:
        return self._model

    @property
    def remark(self) -> str:
        host = httpx.URL(self._url).host
        return f"The images, and frames of the clips, are sent to {host}, whose operator may bill."

    def propose(self, request: CaptionRequest) -> str:
        """Return a proposed caption; see `Captioner`."""
        body = {
            "model": self._model,
            "messages": [{"role": "user", "content": _parts(request)}],
            "max_tokens": _MOST_TOKENS,
            "temperature": _TEMPERATURE,
            "stream": False,
        }
        retrying = Retrying(
            retry=retry_if_exception_type(_TryAgainError),
            wait=self._wait,
            stop=stop_after_attempt(TRIES),
            before_sleep=_log,
            reraise=True,
        )
        try:
            answer = retrying(self._ask, body)
        except _TryAgainError as error:
            raise CaptionerError(
                f"The captioner at {self._url} does not answer: {error}.",
                "Check that the server runs and is reachable from the bot, then try again. "
                "The proposals made so far are kept.",
            ) from error
        return caption_of(_text(answer), request.trigger)

    def _ask(self, body: object) -> _Answer:
        try:
            response = self._client.post(f"{self._url}/chat/completions", json=body)
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise self._misconfigured(f"{self._url} is not an address") from error
        except (httpx.TransportError, httpx.DecodingError) as error:
            raise _TryAgainError(type(error).__name__) from error
        if response.is_server_error or response.status_code in _BUSY:
            raise _TryAgainError(f"HTTP {response.status_code}")
        if response.status_code in _REFUSED_KEY:
            raise self._misconfigured(f"it refuses the key (HTTP {response.status_code})")
        if not response.is_success:
            said = " ".join(response.text.split())[:_MOST_QUOTED]
            why = f"HTTP {response.status_code}: {said}"
            if response.status_code in _REFUSED_SAMPLE:
                raise NoCaptionError(f"the captioner refused this sample ({why})")
            raise self._misconfigured(why)
        try:
            return _Answer.model_validate_json(response.content)
        except ValidationError as error:
            raise NoCaptionError("the captioner's answer was malformed") from error

    def _misconfigured(self, why: str) -> CaptionerError:
        return CaptionerError(
            f"The captioner at {self._url} cannot be used with the model {self._model}: {why}.",
            "Ask the bot's operator to check LORABOT_CAPTION_URL, LORABOT_CAPTION_MODEL and "
            "LORABOT_CAPTION_KEY.",
        )


def _log(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    logger.warning("the captioner did not answer (%s); trying again", error)


def _text(answer: _Answer) -> str:
    choice = answer.choices[0]
    if choice.message.refusal:
        raise NoCaptionError("the captioner refused")
    if choice.finish_reason == "content_filter":
        raise NoCaptionError("the captioner's filter refused")
    if choice.finish_reason == "length":
        raise NoCaptionError("the answer was cut off")
    return choice.message.content or ""


def _parts(request: CaptionRequest) -> list[object]:
    text = instructions(request.template, trigger=request.trigger, seconds=request.seconds)
    pictures = [{"type": "image_url", "image_url": {"url": url}} for url in _urls(request.frames)]
    return [*pictures, {"type": "text", "text": text}]


def _urls(frames: Sequence[Image.Image]) -> list[str]:
    """Return the frames as JPEG data URLs."""
    urls: list[str] = []
    for frame in frames:
        stream = io.BytesIO()
        frame.convert("RGB").save(stream, "JPEG", quality=_JPEG_QUALITY)
        urls.append(f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}")
    return urls
