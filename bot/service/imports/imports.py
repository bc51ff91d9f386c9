"""Imports from links: the bot fetches the files itself, as if a person had uploaded them."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

from aiohttp import hdrs

from bot.messages.uploads import ImportProgress, ImportStatus
from bot.service.background import BackgroundTasks
from bot.service.imports.meter import Meter
from bot.service.imports.public_web import (
    AddressRefusedError,
    ConnectionLostError,
    PublicWeb,
    WebRules,
)
from bot.service.imports.sources import Services, Sources
from bot.service.rights import GuildMember
from bot.service.threads import in_thread
from bot.service.uploads.uploads import OpenUpload, UploadService
from training.errors import TrainingError
from training.registry.uploads.files import FileFacts, IncomingFile
from training.registry.uploads.session import (
    DatasetTarget,
    ImportSource,
    RefusedUpload,
    RemoteFile,
    UploadEndedError,
    UploadSession,
)

AT_ONCE = 2
PAUSES_SECONDS = (1.0, 2.0, 5.0, 15.0, 30.0, 60.0, 60.0)
GuildToken = Callable[[str, str], Awaitable[str | None]]
logger = logging.getLogger(__name__)


async def no_guild_token(_guild: str, _repo: str) -> str | None:
    """Return no token, so that only public repositories can be imported."""
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOptions:
    """Which URLs imports may reach, and how long imports retry; tests change both."""

    rules: WebRules = field(default_factory=WebRules)
    services: Services = field(default_factory=Services)
    pauses_seconds: tuple[float, ...] = PAUSES_SECONDS


@dataclass(slots=True)
class _Running:
    """An import that this process is working on.

    Attributes:
        received: The number of bytes received of each file, by the file's path.
    """

    session: UploadSession
    status: ImportStatus = "waiting"
    received: dict[str, int] = field(default_factory=dict[str, int])
    meter: Meter = field(default_factory=Meter)

    @property
    def received_bytes(self) -> int:
        return sum(self.received.values())


class Imports:
    """The running imports. `token` returns a guild's token for a repository on the Hub."""

    def __init__(
        self,
        uploads: UploadService,
        *,
        options: ImportOptions | None = None,
        token: GuildToken = no_guild_token,
    ) -> None:
        self._uploads = uploads
        self._options = options or ImportOptions()
        self._token = token
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._running = BackgroundTasks()
        self._known: dict[str, _Running] = {}  # by session
        self.has_resumed = False

    async def begin(
        self, person: GuildMember, target: DatasetTarget, address: str, *, channel: str | None
    ) -> UploadSession:
        """Look up the files that a link leads to, and fetch them in the background.

        If the person has already started this import, it continues.

        Raises:
            TrainingError: Nothing can be imported from the link, or `target` is not allowed.
        """
        await in_thread(self._uploads.require_possible, person, target)
        async with self._sources(person.guild) as (_web, sources):
            files = await sources.find(address)
        source = ImportSource(url=address.strip().strip("<>"), files=files)
        session = await self._uploads.begin_import(person, target, source, channel=channel)
        self._start(session)
        return session

    async def resume(self) -> None:
        """Continue the imports that an earlier process left unfinished."""
        for session, state in await self._uploads.open_imports():
            if state.result is None:
                self._start(session, is_fetched=state.status == "complete")
        self.has_resumed = True

    async def stop(self) -> None:
        """Stop all imports in this process; the next process continues them."""
        await self._running.cancel()

    async def revoke(self, person: GuildMember, session_id: str) -> None:
        """End an import or an upload link, and delete the files received so far.

        Raises:
            RequestError: The import or link belongs to somebody else, or its files are being
                checked.
        """
        session = await self._uploads.find_revocable(person, session_id)
        await self._running.cancel(session.id)
        await self._uploads.revoke(person, session_id)

    def progress(self) -> list[ImportProgress]:
        """Return the progress of all imports that this process is working on."""
        return [self._progress(running) for running in self._known.values()]

    def _progress(self, running: _Running) -> ImportProgress:
        session, received = running.session, running.received_bytes
        running.meter.note(asyncio.get_running_loop().time(), received)
        return ImportProgress(
            session=session,
            status=running.status,
            received_bytes=received,
            bytes_per_second=running.meter.bytes_per_second(),
            checked=self._uploads.check_progress(session),
        )

    def _start(self, session: UploadSession, *, is_fetched: bool = False) -> None:
        running = self._known.setdefault(session.id, _Running(session))

        async def run() -> None:
            try:
                await self._run(running, is_fetched=is_fetched)
            finally:
                self._known.pop(session.id, None)

        self._running.start(session.id, run, name=f"import {session.id}")

    async def _run(self, running: _Running, *, is_fetched: bool) -> None:
        session = running.session
        try:
            if not is_fetched:
                async with self._turns:
                    upload = await self._fetch(running)
                await self._uploads.finish(upload)
            running.status = "checking"
            await self._uploads.checked(session)
        except UploadEndedError:
            logger.info("import %s was revoked", session.id)
        except TrainingError as error:
            await self._uploads.refuse(session, RefusedUpload.of(error))

    async def _fetch(self, running: _Running) -> OpenUpload:
        session = running.session
        source = session.source
        if source is None:
            raise ValueError("this upload is not an import")
        async with self._sources(session.guild) as (web, sources):
            headers = await sources.headers(source.url)
            for remote in source.files:
                await self._file(web, headers, running, remote)
        return await in_thread(self._uploads.find, session.guild, session.id)

    async def _file(
        self, web: PublicWeb, headers: Mapping[str, str], running: _Running, remote: RemoteFile
    ) -> None:
        """Fetch the missing part of a file; give up after several tries without progress."""
        failures, before, session = 0, -1, running.session
        while True:
            upload = await in_thread(self._uploads.find, session.guild, session.id)
            file = await self._uploads.add_file(upload, _facts(remote))
            received = running.received[remote.path] = file.received_bytes
            if file.is_complete:
                return
            failures, before = 0 if received > before else failures, received
            running.status = "fetching"
            try:
                await self._rest(_Rest(web, headers, upload, file, remote), running.received)
            except ConnectionLostError:
                if failures == len(self._options.pauses_seconds):
                    raise
                running.status = "lost"
                await asyncio.sleep(self._options.pauses_seconds[failures])
                failures += 1

    async def _rest(self, rest: "_Rest", received: dict[str, int]) -> None:
        """Fetch the rest of a file; record in `received` how many bytes have arrived."""
        web, upload, file, remote = rest.web, rest.upload, rest.file, rest.remote
        offset = file.received_bytes
        if offset and not (remote.validator or remote.is_immutable):
            # The rest might belong to a newer version of the file, so start over.
            await self._uploads.remove_file(upload, file.facts.id)
            file, offset = await self._uploads.add_file(upload, file.facts), 0
        asked = dict(rest.headers)
        if offset:
            asked[hdrs.RANGE] = f"bytes={offset}-"
            if remote.validator:
                asked[hdrs.IF_RANGE] = remote.validator
        async with web.get(remote.url, asked) as answer:
            is_rest = answer.headers.get(hdrs.CONTENT_RANGE, "").startswith(f"bytes {offset}-")
            if offset and not is_rest:
                # The server sends the whole file: it ignores ranges, or the file has changed.
                await self._uploads.remove_file(upload, file.facts.id)
                raise ConnectionLostError("The file has to be fetched again.", "Try again later.")
            etag = answer.headers.get(hdrs.ETAG, "")
            if answer.content_length != remote.size_bytes - offset or (
                remote.etag and etag and etag != remote.etag
            ):
                raise AddressRefusedError(
                    f"{remote.path} on {answer.url.host} has changed since the import began.",
                    "Import the link again.",
                )
            async with self._uploads.receiving(upload, file, offset) as sink:
                async for block in web.blocks(answer):
                    await sink.write(block)
                    received[remote.path] += len(block)

    @asynccontextmanager
    async def _sources(self, guild: str) -> AsyncGenerator[tuple[PublicWeb, Sources]]:
        async with PublicWeb(self._options.rules) as web:
            limits, services = self._uploads.limits, self._options.services
            token = partial(self._token, guild)
            yield web, Sources(web, limits, services=services, token=token)


@dataclass(frozen=True, slots=True)
class _Rest:
    """What `Imports._rest` needs to fetch the rest of a file."""

    web: PublicWeb
    headers: Mapping[str, str]
    upload: OpenUpload
    file: IncomingFile
    remote: RemoteFile


def _facts(remote: RemoteFile) -> FileFacts:
    return FileFacts(path=remote.path, size_bytes=remote.size_bytes, modified_ms=remote.modified_ms)
