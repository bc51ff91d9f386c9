"""Uploads through a link: creating the link, receiving the files and showing the result."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

from bot.installation import Installation
from bot.messages.datasets.actions import PRIVATE, DatasetAction
from bot.messages.datasets.report import report_text
from bot.messages.errors import error_card
from bot.messages.loras import lora_card
from bot.messages.options import in_chat
from bot.service.background import BackgroundTasks
from bot.service.captions.captions import CaptionService
from bot.service.dataset_answers import (
    DatasetAnswer,
    checked_answer,
    perform,
    report_file,
    stored_answer,
)
from bot.service.links import LinkSigner
from bot.service.loras import LoraService
from bot.service.rights import GuildMember, Rights
from bot.service.threads import in_thread
from bot.service.uploads.checking import UploadChecker, person_of
from bot.service.uploads.sink import FileSink
from training.catalogue.models import find_model
from training.dataset.limits import Limits
from training.errors import RequestError
from training.files.disk_space import is_full
from training.registry.uploads.files import FileFacts, IncomingFile
from training.registry.uploads.session import (
    AddedLora,
    DatasetTarget,
    ImportSource,
    KeptUpload,
    LoraTarget,
    RefusedUpload,
    StoredVersion,
    UploadEndedError,
    UploadResult,
    UploadSession,
    UploadState,
    UploadTarget,
    new_session_id,
)
from training.registry.uploads.sessions import UploadSessions, no_room
from training.runs.spec import check_name

SAVE_SECONDS = 60.0
logger = logging.getLogger(__name__)
Announce = Callable[[UploadSession, DatasetAnswer], Awaitable[None]]


class UploadBusyError(RequestError):
    """Another request is writing to this file."""


@dataclass(frozen=True, slots=True)
class UploadLink:
    """A link to the upload page, made for one person."""

    session: str
    target: DatasetTarget | LoraTarget
    url: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class OpenUpload:
    """An upload session with everything its page shows: state, files and progress of the check."""

    session: UploadSession
    state: UploadState
    files: tuple[IncomingFile, ...]
    progress: tuple[int, int]


class UploadService:
    """The upload use cases of one installation."""

    def __init__(
        self,
        installation: Installation,
        captions: CaptionService,
        loras: LoraService,
        *,
        rights: Rights,
        signer: LinkSigner,
    ) -> None:
        self._captions, self.datasets, self._loras = captions, captions.datasets, loras
        self._rights = rights
        self._installation = installation
        self._signer = signer
        self._sessions = UploadSessions(installation.runtime.store, installation.settings.limits)
        self._checker = UploadChecker(installation, self.datasets, loras)
        self._busy = set[str]()
        self._progress: dict[str, tuple[int, int]] = {}
        self._checks = BackgroundTasks()
        self._is_stopping = False
        self.announce: Announce = _announce_nowhere

    @property
    def base_url(self) -> str:
        """Return the public URL of the web server."""
        return self._signer.base_url

    @property
    def limits(self) -> Limits:
        return self._sessions.limits

    async def link(
        self, person: GuildMember, target: UploadTarget, *, channel: str | None
    ) -> UploadLink:
        """Create a link through which one person can send files for `target`.

        Raises:
            TrainingError: `target` is not allowed, for example because its name is taken.
        """
        return self._link(await self._create(person, target, channel=channel))

    async def _create(
        self,
        person: GuildMember,
        target: UploadTarget,
        *,
        channel: str | None,
        source: ImportSource | None = None,
    ) -> UploadSession:
        now = datetime.now(UTC)
        session = UploadSession(
            id=new_session_id(),
            guild=person.guild,
            by=person.id,
            roles=tuple(sorted(person.roles)),
            manages_server=person.manages_server,
            channel=channel,
            target=target,
            source=source,
            created_at=now,
            expires_at=now + timedelta(hours=self._signer.hours),
        )

        def create() -> None:
            self.require_possible(person, target)
            self._sessions.create(session)

        await in_thread(create)
        return session

    async def begin_import(
        self,
        person: GuildMember,
        target: DatasetTarget,
        source: ImportSource,
        *,
        channel: str | None,
    ) -> UploadSession:
        """Return the person's unfinished import of the same files, or begin a new import.

        Raises:
            TrainingError: `target` is not allowed, for example because its name is taken.
        """
        for session, state in await self.open_imports():
            if (session.guild, session.by) == (person.guild, person.id) and (
                (session.target, session.source) == (target, source)
            ):
                if state.result is not None:
                    await in_thread(self._sessions.update, session, result=None)
                return session
        return await self._create(person, target, channel=channel, source=source)

    async def open_imports(self) -> list[tuple[UploadSession, UploadState]]:
        """Return the unfinished imports of all guilds; those that have failed have a result."""
        found = await in_thread(lambda: list(self._sessions.all()))
        return [one for one in found if one[0].source is not None and one[1].status != "done"]

    async def find_link(self, person: GuildMember, session_id: str) -> UploadLink:
        """Return this person's link to an upload session.

        Raises:
            RequestError: The link was made for somebody else.
            UploadEndedError: The link was used, was revoked or has expired.
        """
        session, _ = await in_thread(self._sessions.find, person.guild, session_id)
        if session.by != person.id:
            raise RequestError(
                "This link is for the person who sent the file.",
                "Use /dataset upload to get your own link.",
            )
        return self._link(session)

    def _link(self, session: UploadSession) -> UploadLink:
        url = self._signer.page_link("upload", session.guild, session.id)
        return UploadLink(session.id, session.target, url, session.expires_at)

    async def bind(self, token: str, proof: str) -> tuple[UploadSession, str]:
        """Open a link in a browser; return its session and a cookie value for this browser.

        The link is bound once a browser sends the cookie back; from then on, only browsers with the
        cookie can use the link. Until then, a browser that never received the answer, because its
        connection broke or the page was reloaded, can ask again.

        Args:
            token: The token in the link.
            proof: The cookie value that the browser sent; empty if it sent none.

        Raises:
            LinkBoundError: Another browser has used the link.
            TrainingError: The link is forged or has ended.
        """
        guild, session_id = self._signer.read_page("upload", token)
        session, state = await in_thread(self._sessions.find, guild, session_id)
        if state.is_bound:
            self._signer.require_browser("upload", guild, session_id, proof)
        return session, self._signer.browser_proof(guild, session_id)

    async def open(self, token: str, proof: str, session_id: str) -> OpenUpload:
        """Return the session of a link that this browser was the first to use.

        Raises:
            LinkBoundError: This browser has no cookie for the link, or `token` is for another
                session.
            TrainingError: The link is forged or has ended.
        """
        guild = self._signer.read_bound("upload", token, proof, session_id)
        found = await in_thread(self.find, guild, session_id)
        if not found.state.is_bound:
            await in_thread(self._sessions.update, found.session, is_bound=True)
        return found

    def find(self, guild: str, session_id: str) -> OpenUpload:
        """Return a session, for the bot's own use or after its link was checked; it blocks.

        Raises:
            UploadEndedError: The session was revoked or has expired.
        """
        session, state = self._sessions.find(guild, session_id)
        files = tuple(self._sessions.files(session))
        return OpenUpload(session, state, files, self.check_progress(session))

    async def add_file(self, upload: OpenUpload, facts: FileFacts) -> IncomingFile:
        """Register a file of the upload, so that its content can be received in pieces."""
        _require_open(upload)
        return await in_thread(self._sessions.add, upload.session, facts)

    async def file(self, upload: OpenUpload, file_id: str) -> IncomingFile:
        return await in_thread(self._sessions.file, upload.session, file_id)

    async def remove_file(self, upload: OpenUpload, file_id: str) -> None:
        _require_open(upload)
        file = await self.file(upload, file_id)
        async with self._alone(upload, file):
            await in_thread(self._sessions.remove, upload.session, file)

    @asynccontextmanager
    async def receiving(
        self, upload: OpenUpload, file: IncomingFile, offset: int
    ) -> AsyncGenerator[FileSink]:
        """Yield a sink that appends to `file`, starting at byte `offset`.

        Raises:
            UploadBusyError: Another request is writing to the file.
            WrongOffsetError: `offset` is not the number of bytes received so far.
            NoRoomError: The disk is full; the bytes received so far are kept.
        """
        _require_open(upload)
        async with self._alone(upload, file):
            writer = await in_thread(file.writer, offset)
            try:
                async with FileSink(writer) as sink:
                    yield sink
            except OSError as error:
                if not is_full(error):
                    raise
                raise no_room() from error

    async def finish(self, upload: OpenUpload) -> None:
        """Check and store the received files, in the background.

        Raises:
            RequestError: A file is incomplete, or there are no files.
            NoRoomError: The disk is full; the received files are kept.
        """
        _require_open(upload)
        missing = [file.facts.path for file in upload.files if not file.is_complete]
        if not upload.files:
            raise RequestError("There are no files.", "Add files first.")
        if missing:
            have = "1 file has" if len(missing) == 1 else f"{len(missing)} files have"
            raise RequestError(f"{have} not arrived yet.", "Wait until all have arrived.")

        def complete() -> None:
            for file in upload.files:
                file.sync()
            self._sessions.complete(upload.session)

        try:
            await in_thread(complete)
        except OSError as error:
            if not is_full(error):
                raise
            raise no_room() from error
        self._begin_check(upload.session)

    async def checked(self, session: UploadSession) -> None:
        """Wait until a finished upload's files are checked and its result is announced."""
        self._begin_check(session)
        await self._checks.wait(session.id)

    def check_progress(self, session: UploadSession) -> tuple[int, int]:
        """Return the number of checked files and of all files; (0, 0) if not known."""
        return self._progress.get(session.id, (0, 0))

    async def revoke(self, person: GuildMember, session_id: str) -> None:
        """End a link and delete the files sent through it.

        Raises:
            RequestError: The link belongs to somebody else, or its files are being checked.
        """
        session = await self.find_revocable(person, session_id)
        await in_thread(self._sessions.delete, session)

    async def find_revocable(self, person: GuildMember, session_id: str) -> UploadSession:
        """Return a session, if the person may end it now.

        Raises:
            RequestError: The session belongs to somebody else, or its files are being checked.
        """
        session, state = await in_thread(self._sessions.find, person.guild, session_id)
        await in_thread(
            self._rights.require_owner, person, session.by, what="This link", act="revoke"
        )
        if state.status == "complete":
            raise RequestError("The files are being checked.", "Wait for the result.")
        return session

    async def act(self, upload: OpenUpload, action: DatasetAction, about: str) -> DatasetAnswer:
        """Carry out the action of a button below the result.

        Raises:
            RequestError: The button belongs to another upload.
        """
        session = upload.session
        if not _is_about(session, upload.state, about):
            raise RequestError("This button belongs to another upload.", "Reload the page.")
        make_link = partial(self._captions.link, channel=session.channel)
        done = await perform(self.datasets, action, person_of(session), about, make_link)
        if action in PRIVATE:
            return done
        result = StoredVersion(reference=done.about) if "@" in done.about else None
        if done.about and result is None:
            result = KeptUpload(token=done.about)
        # After any decision, the link no longer accepts files that replace bad ones.
        await in_thread(self._sessions.end, session, status="done", result=result)
        if session.channel is not None:
            await self.announce(session, done)
        return done

    async def answer(self, session: UploadSession, state: UploadState) -> DatasetAnswer | None:
        """Return an upload's result as users see it, or None if there is none yet."""
        match state.result:
            case StoredVersion(reference=reference, is_new=is_new):
                stored = await self.datasets.show(session.guild, reference)
                return await stored_answer(stored, is_known=not is_new)
            case KeptUpload(token=token):
                return await checked_answer(await self.datasets.kept(session.guild, token))
            case AddedLora(name=name):
                loras = self._installation.loras
                record = await in_thread(loras.find, session.guild, name)
                return DatasetAnswer(card=lora_card(record))
            case RefusedUpload(report=report) as refused:
                files = ()
                if report is not None:
                    files = (report_file("upload", await in_thread(report_text, report, in_chat)),)
                return DatasetAnswer(card=error_card(refused.error), files=files)
            case None:
                return None

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Store received data once a minute inside the `async with` block, and once at its end."""
        saving = asyncio.create_task(self._keep_saving(), name="store uploads")
        try:
            yield
        finally:
            saving.cancel()
            await asyncio.wait({saving})
            await self._save()

    async def resume(self) -> None:
        """Finish the checks and announcements that an earlier process left undone."""
        for session, state in await in_thread(lambda: list(self._sessions.all())):
            if state.status == "complete":
                self._begin_check(session)
            elif not state.is_announced:
                await self._tell(session, state)

    async def stop_checks(self) -> None:
        """End the checks in progress and start no new ones; the next process repeats them."""
        self._is_stopping = True
        await self._checks.cancel()

    async def _keep_saving(self) -> None:
        while True:
            await asyncio.sleep(SAVE_SECONDS)
            await self._save()

    async def _save(self) -> None:
        try:
            await in_thread(self._sessions.save)
        except OSError:
            logger.warning("uploads could not be stored; trying again later", exc_info=True)

    def _begin_check(self, session: UploadSession) -> None:
        if not self._is_stopping:
            name = f"check upload {session.id}"
            self._checks.start(session.id, lambda: self._check(session), name=name)

    async def _check(self, session: UploadSession) -> None:
        session, state = await in_thread(self._sessions.find, session.guild, session.id)
        if state.status != "complete":  # another process has checked the upload
            return
        files = await in_thread(self._sessions.files, session)

        def on_progress(done: int, total: int) -> None:
            self._progress[session.id] = done, total

        result = await self._checker.check(session, files, on_progress)
        self._progress.pop(session.id, None)
        await self._end(session, result)

    async def refuse(self, session: UploadSession, result: RefusedUpload) -> None:
        """Show why an import failed. The fetched files are kept for another try."""
        await self._end(session, result)

    async def _end(self, session: UploadSession, result: UploadResult) -> None:
        stays_open, is_announced = _takes_others(session, result), session.channel is None
        # Keep the files while the link stays open, so that only bad ones must be sent again.
        update = self._sessions.update if stays_open else self._sessions.end
        state = await in_thread(
            update,
            session,
            status="open" if stays_open else "done",
            result=result,
            is_announced=is_announced,
        )
        if not is_announced:
            await self._tell(session, state)

    async def _tell(self, session: UploadSession, state: UploadState) -> None:
        answer = await self.answer(session, state)
        if answer is not None:
            await self.announce(session, answer)
        await in_thread(self._sessions.update, session, is_announced=True)

    @asynccontextmanager
    async def _alone(self, upload: OpenUpload, file: IncomingFile) -> AsyncGenerator[None]:
        """Keep other requests from changing the file inside the `async with` block.

        Raises:
            UploadBusyError: Another request is changing the file.
        """
        name = f"{upload.session.id}/{file.facts.id}"
        if name in self._busy:
            raise UploadBusyError(
                f"{file.facts.path} is being sent by another request.",
                "Close other tabs that show this page, or wait a moment.",
            )
        self._busy.add(name)
        try:
            yield
        finally:
            self._busy.discard(name)

    def require_possible(self, person: GuildMember, target: UploadTarget) -> None:
        """Raise `TrainingError` unless the person may store files as `target`."""
        if isinstance(target, DatasetTarget):
            if target.is_check:
                check_name("dataset", target.name)
            else:
                self.datasets.require_may_add(person, target.name, target.mode)
            self.datasets.require_trigger(person, target)
            return
        model = find_model(target.model)
        if target.expert is not None:
            model.expert(target.expert)
        self._loras.require_may_add(person, target.name)


async def _announce_nowhere(_session: UploadSession, _answer: DatasetAnswer) -> None:
    """Do nothing: the default for `announce` if there is no chat client."""


def _is_about(session: UploadSession, state: UploadState, about: str) -> bool:
    """Return whether the target of a button belongs to this upload.

    `about` is the token of an upload or the name of a dataset or version.
    """
    match state.result:
        case KeptUpload(token=token):
            return about == token
        case StoredVersion():
            name = session.target.name
            return name is not None and about.partition("@")[0] == name
        case _:
            return False


def _takes_others(session: UploadSession, result: UploadResult) -> bool:
    """Return whether the user can send other files to replace unusable ones."""
    match result:
        case RefusedUpload():
            return True
        case KeptUpload(has_bad_files=has_bad_files):
            return has_bad_files and session.source is None
        case _:
            return False


def _require_open(upload: OpenUpload) -> None:
    if upload.state.status == "complete":
        raise UploadEndedError("The files are being checked.", "Wait for the result.")
    if upload.state.status == "done":
        raise UploadEndedError("This link has been used.", "Ask for a new one to send more files.")
