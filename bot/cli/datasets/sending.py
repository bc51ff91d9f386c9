"""Sends a zip to a deployment's bot, as the upload page does; continues an interrupted upload."""

import base64
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any, Self

import httpx

from bot.cli.home import OPERATOR, ServerHome
from bot.cli.progress import counted, fetched
from bot.installation import Installation
from bot.service.links import LinkSigner
from bot.web.browser import LINK_HEADER, cookie_name
from bot.web.uploads.protocol import CONTENT_TYPE, VERSION
from training.dataset.report import OnProgress, no_progress
from training.errors import BackendError, RequestError, TrainingError
from training.ports import unwatched
from training.registry.datasets import DatasetVersion
from training.registry.uploads.session import (
    DatasetTarget,
    RefusedUpload,
    StoredVersion,
    UploadSession,
    new_session_id,
)
from training.registry.uploads.sessions import UploadSessions

PIECE_BYTES = 64 << 20
# The pauses after failed tries in a row. If the try after the last pause fails too, the sender
# gives up. Any progress starts the series again.
PAUSES_SECONDS = (0.5, 1.0, 2.0, 5.0, *(10.0,) * 6)
_BLOCK_BYTES = 256 << 10
_POLL_SECONDS = 0.5
_PASSING = (HTTPStatus.CONFLICT, HTTPStatus.LOCKED)  # another request is still writing
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class TerminalLink:
    """An upload link that this program made for itself.

    `proof` is sent as the cookie that a browser would send.
    """

    session: UploadSession
    token: str
    proof: str


def send_to_bot(
    home: ServerHome, installation: Installation, files: Sequence[Path], target: DatasetTarget
) -> DatasetVersion:
    """Send a zip to the bot of a deployment, which stores it, and return the stored version.

    Args:
        home: The command's options, which name the deployment and the chat server.
        installation: The services of that deployment.
        files: The zip, and the caption table if `target` names one.
        target: The dataset to make from the files.

    Raises:
        BackendError: The bot cannot be reached; the same call continues the upload later.
        TrainingError: The bot refuses the files.
    """
    link = terminal_link(installation, home.guild, target)
    with Sender(home.bot_address(), link) as sender:
        with fetched(sum(file.stat().st_size for file in files), "Sending") as on_sent:
            sender.send(files, on_sent)
        with counted("Storing", is_quiet=False) as on_progress:
            sender.finish(on_progress)
    sessions = UploadSessions(installation.runtime.store)
    match sessions.find(home.guild, link.session.id)[1].result:
        case StoredVersion(reference=reference):
            return installation.datasets.find(home.guild, reference)
        case RefusedUpload() as refused:
            raise refused.error
        case _:
            raise BackendError(
                "The bot and this program check files by different rules.",
                "Run lorabot deploy, then the same command again.",
            )


def terminal_link(installation: Installation, guild: str, target: DatasetTarget) -> TerminalLink:
    """Return the open link for `target` that an interrupted command left, or a new one."""
    settings = installation.settings
    sessions = UploadSessions(installation.runtime.store, settings.limits)
    signer = LinkSigner(installation.link_secret(), hours=settings.link_hours)
    session = next(
        (
            one
            for one, state in sessions.sessions(guild)
            if one.by == OPERATOR and one.target == target and state.status != "done"
        ),
        None,
    )
    if session is None:
        now = datetime.now(UTC)
        session = UploadSession(
            id=new_session_id(),
            guild=guild,
            by=OPERATOR,
            manages_server=True,
            channel=None,
            target=target,
            created_at=now,
            expires_at=now + timedelta(hours=settings.link_hours),
        )
        sessions.create(session)
    token = signer.page_token("upload", guild, session.id)
    return TerminalLink(session, token, signer.browser_proof(guild, session.id))


class Sender:
    """Sends files through a link to the bot at `url`."""

    def __init__(
        self,
        url: str,
        link: TerminalLink,
        *,
        pauses_seconds: Sequence[float] | None = None,
        piece_bytes: int = PIECE_BYTES,
    ) -> None:
        self._pauses = PAUSES_SECONDS if pauses_seconds is None else pauses_seconds
        self._piece_bytes = piece_bytes
        self._place = f"/uploads/{link.session.id}"
        self._client = httpx.Client(
            base_url=url,
            headers={LINK_HEADER: link.token, "Tus-Resumable": VERSION},
            cookies={cookie_name("upload", link.session.id): link.proof},
            timeout=60.0,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._client.close()

    def send(self, files: Sequence[Path], on_progress: Progress = unwatched) -> None:
        """Send the parts of `files` that the bot lacks; report how many bytes the bot has.

        Other files that an earlier command sent through this link are deleted.

        Raises:
            BackendError: The bot could not be reached for a minute; a later call with the same
                files continues.
            RequestError: The bot refuses a file.
        """
        state = self._state()
        if state["status"] != "open":
            return
        locations = [self._create(file) for file in files]
        for other in state["files"]:
            if other["url"] not in locations:
                self._asked("DELETE", other["url"])
        before = 0
        for file, location in zip(files, locations, strict=True):
            self._send(file, location, lambda here, before=before: on_progress(before + here))
            before += file.stat().st_size

    def _send(self, file: Path, location: str, on_progress: Progress) -> None:
        size, failures, before = file.stat().st_size, 0, -1
        while True:
            try:
                offset = self._offset(location)
                on_progress(offset)
                if offset == size:
                    return
                failures = 0 if offset > before else failures
                before = offset
                self._put(location, file, offset, on_progress)
            except _PassingError as error:
                failures = self._pause(failures, error)

    def finish(self, on_progress: OnProgress = no_progress) -> None:
        """Ask the bot to check and store the files, and wait until it has done so."""
        if self._state()["status"] == "open":
            self._asked("POST", f"{self._place}/finish")
        while (state := self._state())["status"] == "complete":
            on_progress(*state["progress"])
            time.sleep(_POLL_SECONDS)

    def _create(self, file: Path) -> str:
        facts = file.stat()
        values = {"path": file.name, "modified": str(round(facts.st_mtime * 1000))}
        coded = {name: base64.b64encode(value.encode()).decode() for name, value in values.items()}
        headers = {
            "Upload-Length": str(facts.st_size),
            "Upload-Metadata": ",".join(f"{name} {value}" for name, value in coded.items()),
        }
        return self._asked("POST", f"{self._place}/files", headers).headers["location"]

    def _offset(self, location: str) -> int:
        return int(self._request("HEAD", location).headers["upload-offset"])

    def _put(self, location: str, file: Path, offset: int, on_progress: Progress) -> None:
        length = min(self._piece_bytes, file.stat().st_size - offset)
        headers = {
            "Content-Type": CONTENT_TYPE,
            "Content-Length": str(length),
            "Upload-Offset": str(offset),
        }
        self._request("PATCH", location, headers, _blocks(file, offset, length, on_progress))

    def _state(self) -> dict[str, Any]:
        return self._asked("GET", self._place).json()

    def _asked(
        self, method: str, path: str, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        """Make a small request; retry while the bot cannot be reached."""
        failures = 0
        while True:
            try:
                return self._request(method, path, headers)
            except _PassingError as error:
                failures = self._pause(failures, error)

    def _request(
        self,
        method: str,
        path: str,
        headers: dict[str, str] | None = None,
        content: Iterator[bytes] | None = None,
    ) -> httpx.Response:
        try:
            answer = self._client.request(method, path, headers=headers, content=content)
        except httpx.TransportError as error:
            raise _PassingError(str(error) or type(error).__name__) from error
        if answer.is_success:
            return answer
        if answer.status_code in _PASSING or (
            answer.is_server_error and answer.status_code != HTTPStatus.INSUFFICIENT_STORAGE
        ):
            raise _PassingError(f"it answers with status {answer.status_code}")
        raise _refusal(answer)

    def _pause(self, failures: int, error: Exception) -> int:
        """Wait before the next try; return the new number of failures in a row.

        Raises:
            BackendError: No pause is left.
        """
        if failures == len(self._pauses):
            raise BackendError(
                f"The bot is not available: {error}.",
                "Run the same command again: it continues where it stopped.",
            ) from error
        time.sleep(self._pauses[failures])
        return failures + 1


class _PassingError(Exception):
    """The connection failed, or the bot is busy; a retry may succeed."""


def _blocks(file: Path, offset: int, length: int, on_progress: Progress) -> Iterator[bytes]:
    with file.open("rb") as source:
        source.seek(offset)
        while length > 0 and (block := source.read(min(_BLOCK_BYTES, length))):
            yield block
            offset, length = offset + len(block), length - len(block)
            on_progress(offset)


def _refusal(answer: httpx.Response) -> TrainingError:
    """Return the bot's own cause and fix, or a general error if a proxy answered instead."""
    try:
        told = answer.json()
        return RequestError(str(told["cause"]), str(told["fix"]))
    except (ValueError, KeyError, TypeError):
        return BackendError(
            f"{answer.url.host} answered with status {answer.status_code}.", "Run lorabot doctor."
        )
