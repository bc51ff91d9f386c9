"""A server on loopback that serves files like the Hugging Face Hub."""

import hashlib
import re
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"
_RESOLVE = re.compile(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)")


@dataclass(frozen=True)
class Request:
    """A request of the client."""

    method: str
    path: str
    range: str | None
    token: str | None


@dataclass
class HubState:
    """The repositories of the Hub, and how it behaves.

    Attributes:
        files: Contents by repository and path; large ones are kept in another place.
        large: From how many bytes on a file is large.
        gated: Repositories that want a token.
        hold_after: Answer with so many bytes and wait for `release`.
        damage: Change a byte of every content.
        refusal: Answer everything with this status and this message.
        link_ends: Refuse contents as the storage does whose signed link has run out.
    """

    files: dict[tuple[str, str], bytes] = field(default_factory=dict[tuple[str, str], bytes])
    large: int = 10_000
    gated: set[str] = field(default_factory=set[str])
    hold_after: int | None = None
    damage: bool = False
    refusal: tuple[int, str] | None = None
    link_ends: bool = False
    requests: list[Request] = field(default_factory=list[Request])
    storage: str = ""
    url: str = ""
    held: threading.Event = field(default_factory=threading.Event)
    release: threading.Event = field(default_factory=threading.Event)

    def gets(self) -> list[Request]:
        """Return the requests for contents, in their order."""
        return [request for request in self.requests if request.method == "GET"]


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, state: HubState, *arguments: object) -> None:
        self._state = state
        super().__init__(*arguments)  # type: ignore[arg-type]  # what a server hands on

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        pass

    def _answer(self) -> None:
        token = self.headers.get("Authorization")
        asked = Request(self.command, self.path, self.headers.get("Range"), token)
        self._state.requests.append(asked)
        if self._state.refusal is not None:
            status, message = self._state.refusal
            self._refuse(status, "", message)
            return
        if self.path.startswith("/storage/"):
            if self._state.link_ends:
                self._refuse(403, "")
                return
            contents = {
                hashlib.sha256(data).hexdigest(): data for data in self._state.files.values()
            }
            self._send(contents[self.path.rsplit("/", 1)[1]], {})
            return
        match = _RESOLVE.fullmatch(self.path)
        assert match is not None
        repo, revision, path = match.groups()
        if repo in self._state.gated and token != "Bearer agreed":
            self._refuse(401 if token is None else 403, "GatedRepo")
        elif repo not in {repo for repo, _ in self._state.files}:
            self._refuse(
                401, "RepoNotFound"
            )  # as the Hub does, which reveals nothing about private ones
        elif revision not in ("main", COMMIT):
            self._refuse(404, "RevisionNotFound")
        elif (repo, path) not in self._state.files:
            self._refuse(404, "EntryNotFound")
        else:
            self._resolve(self._state.files[repo, path])

    def _resolve(self, data: bytes) -> None:
        if len(data) < self._state.large:
            blob = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
            self._send(data, {"X-Repo-Commit": COMMIT, "ETag": f'"{blob}"'})
            return
        sha256 = hashlib.sha256(data).hexdigest()
        self.send_response(302)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("X-Linked-Etag", f'"{sha256}"')
        self.send_header("X-Linked-Size", str(len(data)))
        self.send_header("Location", f"{self._state.storage}/storage/{sha256}")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send(self, data: bytes, headers: dict[str, str]) -> None:
        if self._state.damage:
            data = bytes([data[0] ^ 1]) + data[1:]
        start = int((self.headers.get("Range") or "bytes=0-")[6:].rstrip("-"))
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        if self.command == "GET":
            self._send_body(data[start:])

    def _send_body(self, data: bytes) -> None:
        if self._state.hold_after is not None:
            self.wfile.write(data[: self._state.hold_after])
            self._state.held.set()
            self._state.release.wait()
            return
        self.wfile.write(data)

    def _refuse(self, status: int, code: str, message: str = "") -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("X-Error-Message", message)
        self.send_header("Content-Length", "0")
        self.end_headers()


@contextmanager
def hub_server() -> Generator[HubState]:
    """Serve a Hub and, at another address, the storage of its large files."""
    state = HubState()
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, state)) for _ in range(2)]
    state.url, state.storage = (f"http://127.0.0.1:{server.server_port}" for server in servers)
    threads = [threading.Thread(target=server.serve_forever, args=(0.02,)) for server in servers]
    for thread in threads:
        thread.start()
    try:
        yield state
    finally:
        state.release.set()
        for server in servers:
            server.shutdown()
            server.server_close()
        for thread in threads:
            thread.join()
