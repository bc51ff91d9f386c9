"""An OpenAI-compatible server on loopback, which refuses what the real ones refuse."""

import base64
import io
import json
import re
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from PIL import Image

MODEL, KEY = "qwen3-vl:8b", "secret-key"
_FIELDS = {"model", "messages", "max_tokens", "temperature", "stream"}
_URL = re.compile(r"data:image/(?P<kind>jpeg|png);base64,(?P<data>[A-Za-z0-9+/]+={0,2})")


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply; one without a status closes the connection, a slow one never comes."""

    status: int | None = 200
    body: bytes = b""
    is_slow: bool = False


def completion(
    content: str | None, *, refusal: str | None = None, finish_reason: str = "stop"
) -> Reply:
    message = {"role": "assistant", "content": content, "refusal": refusal}
    choice = {"index": 0, "message": message, "finish_reason": finish_reason}
    answer = {"id": "chatcmpl-1", "object": "chat.completion", "choices": [choice]}
    return Reply(body=json.dumps(answer).encode())


@dataclass
class Completions:
    """The server's script and record.

    Attributes:
        replies: The replies to the next valid requests; the last one is repeated.
        asked: The text and the pictures of every valid request.
    """

    url: str
    replies: list[Reply]
    asked: list[tuple[str, list[Image.Image]]] = field(
        default_factory=list[tuple[str, list[Image.Image]]]
    )
    released: threading.Event = field(default_factory=threading.Event)

    def answer(self, path: str, headers: dict[str, str], body: bytes) -> Reply:
        if path != "/v1/chat/completions":
            return _error(404, f"no route {path}")
        if headers.get("authorization") != f"Bearer {KEY}":
            return _error(401, "Incorrect API key provided")
        if headers.get("content-type") != "application/json":
            return _error(415, "not JSON")
        request: dict[str, Any] = json.loads(body)
        if request.get("model") != MODEL:
            return _error(404, f"The model {request.get('model')} does not exist")
        try:
            self.asked.append(_read(request))
        except (AssertionError, KeyError, TypeError, ValueError, OSError) as error:
            return _error(400, f"invalid request: {error!r}")
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]


def _read(request: dict[str, Any]) -> tuple[str, list[Image.Image]]:
    assert set(request) <= _FIELDS, f"unknown fields {set(request) - _FIELDS}"
    assert request["stream"] is False
    assert isinstance(request["max_tokens"], int)
    assert request["max_tokens"] > 0
    assert 0 <= request["temperature"] <= 2
    (message,) = request["messages"]
    assert set(message) == {"role", "content"}
    assert message["role"] == "user"
    texts: list[str] = []
    pictures: list[Image.Image] = []
    for part in message["content"]:
        if part["type"] == "text":
            assert set(part) == {"type", "text"}
            texts.append(part["text"])
            continue
        assert part["type"] == "image_url", part["type"]
        assert set(part) == {"type", "image_url"}
        found = _URL.fullmatch(part["image_url"]["url"])
        assert found, "not a data URL"
        data = base64.b64decode(found["data"], validate=True)
        picture = Image.open(io.BytesIO(data))
        picture.load()
        assert picture.format == found["kind"].upper()
        pictures.append(picture)
    assert pictures, "no picture"
    (text,) = texts
    return text, pictures


def _error(status: int, message: str) -> Reply:
    return Reply(status, json.dumps({"error": {"message": message, "code": status}}).encode())


@contextmanager
def serving(*replies: Reply) -> Generator[Completions]:
    """Run the server; it gives the replies in order."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            reply = completions.answer(self.path, headers, body)
            if reply.is_slow:
                completions.released.wait(60)
            if reply.status is None or reply.is_slow:
                self.close_connection = True
                return
            self.send_response(reply.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    completions = Completions(f"http://127.0.0.1:{server.server_port}/v1", list(replies))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield completions
    finally:
        completions.released.set()
        server.shutdown()
        thread.join()
        server.server_close()
