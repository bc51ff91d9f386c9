"""Caption pages: making the link, showing the samples, and saving changed captions."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bot.installation import Installation
from bot.service.background import BackgroundTasks
from bot.service.captions.looking import Looking, ShownVersion
from bot.service.dataset_answers import (
    DatasetAnswer,
    PageLink,
    difference_answer,
    stored_answer,
)
from bot.service.datasets import DatasetService, StoredDataset
from bot.service.links import LinkSigner
from bot.service.rights import GuildMember
from bot.service.threads import in_thread
from training.dataset.sample_files import SampleFiles, Wanted
from training.registry.caption_sessions import CaptionSession, CaptionSessions
from training.registry.dataset_edits import CaptionChange
from training.registry.proposals import Proposal, fitting
from training.registry.uploads.session import new_session_id
from training.runs.spec import parse_reference

_IDLE_SECONDS = 60.0  # how long decoding processes wait for more work
Announce = Callable[[CaptionSession, DatasetAnswer], Awaitable[None]]


class CaptionService:
    """The use cases of caption pages.

    Attributes:
        announce: Posts an answer about a new version in the session's channel.
    """

    def __init__(
        self, installation: Installation, datasets: DatasetService, signer: LinkSigner
    ) -> None:
        self.datasets = datasets
        self._proposals = installation.proposals
        self.announce: Announce = _announce_nowhere
        self._signer = signer
        self._sessions = CaptionSessions(installation.runtime.store)
        self._datasets = installation.datasets
        self._looking = Looking(installation.datasets)
        self._files = SampleFiles(installation.settings.limits)
        self._turns: dict[str, asyncio.Lock] = {}
        self._opening = asyncio.Lock()
        self._converting = 0
        self._resting: asyncio.TimerHandle | None = None
        self._announcements = BackgroundTasks()

    @property
    def base_url(self) -> str:
        """Return the public URL of the web server."""
        return self._signer.base_url

    async def link(
        self, person: GuildMember, about: str, *, channel: str | None
    ) -> PageLink | None:
        """Return a link to the caption page of a dataset, or of an upload that waits for captions.

        Args:
            person: The person who may use the link.
            about: A version such as annika@3, or the token of an upload.
            channel: Where to announce new versions.

        Returns:
            None if the upload must be settled in another way before it can be stored.

        Raises:
            RequestError: The person may not change the dataset.
        """
        found = await in_thread(self._target, person, about)
        if found is None:
            return None
        name, waiting = found
        now = datetime.now(UTC)
        session = CaptionSession(
            id=new_session_id(),
            guild=person.guild,
            by=person.id,
            roles=tuple(sorted(person.roles)),
            manages_server=person.manages_server,
            channel=channel,
            dataset=name,
            waiting=waiting,
            created_at=now,
            expires_at=now + timedelta(hours=self._signer.hours),
        )
        await in_thread(self._sessions.create, session)
        url = self._signer.page_link("captions", session.guild, session.id)
        return PageLink("Open caption page", url, session.expires_at)

    def _target(self, person: GuildMember, about: str) -> tuple[str, str | None] | None:
        """Return the dataset's name and, for an upload that is not stored yet, its token."""
        if "@" not in about:
            found = self.datasets.find_storable(person, about)
            return (found[0], about) if found is not None else None
        name, _ = parse_reference(about)
        self.datasets.require_may_edit(person, name)
        return name, None

    async def bind(self, token: str, proof: str) -> tuple[CaptionSession, str]:
        """Open a link in a browser; return its session and a cookie value for this browser.

        As for uploads, the link is bound once a browser sends the cookie back.

        Raises:
            LinkBoundError: Another browser has used the link.
            TrainingError: The link is forged or has ended.
        """
        guild, session_id = self._signer.read_page("captions", token)
        session = await in_thread(self._sessions.find, guild, session_id)
        if session.is_bound:
            self._signer.require_browser("captions", guild, session_id, proof)
        return session, self._signer.browser_proof(guild, session_id)

    async def open(self, token: str, proof: str, session_id: str) -> CaptionSession:
        """Return the session of a link that this browser was the first to use.

        The first time, store the upload that waits for captions, if the link is about one.

        Raises:
            LinkBoundError: This browser has no cookie for the link, or `token` is for another
                session.
            TrainingError: The link is forged or has ended, or the upload has expired.
        """
        guild = self._signer.read_bound("captions", token, proof, session_id)
        session = await in_thread(self._sessions.find, guild, session_id)
        if session.is_bound:
            return session
        async with self._opening:
            return await self._first_use(guild, session_id)

    async def _first_use(self, guild: str, session_id: str) -> CaptionSession:
        session = await in_thread(self._sessions.find, guild, session_id)
        if session.is_bound:
            return session
        if session.waiting is not None and not await self._is_stored(session):
            store = self.datasets.store_incomplete
            stored = await in_thread(store, _person(session), session.waiting)
            self._announce(session, stored)
        bound = session.model_copy(update={"is_bound": True})
        await in_thread(self._sessions.write, bound)
        return bound

    async def _is_stored(self, session: CaptionSession) -> bool:
        """Return whether the upload was stored by somebody else since the link was made."""
        return await self.datasets.waiting(session.guild, session.dataset) is None

    async def look(self, guild: str, session_id: str, proof: str) -> CaptionSession:
        """Return the session for which a browser has the cookie; it asks for a picture or clip.

        Raises:
            LinkBoundError: The browser has no cookie for the session.
            CaptionsEndedError: The session has ended.
        """
        self._signer.require_browser("captions", guild, session_id, proof)
        return await in_thread(self._sessions.find, guild, session_id)

    async def show(self, session: CaptionSession) -> tuple[ShownVersion, Mapping[str, Proposal]]:
        """Return the newest version and the proposals for it.

        Raises:
            NotFoundError: The dataset was removed.
        """
        shown = await in_thread(self._looking.newest, session.guild, session.dataset)
        found = await in_thread(self._proposals.read, session.guild, session.dataset)
        return shown, fitting(found, shown.draft.report.samples)

    async def newest(self, session: CaptionSession) -> tuple[int, int]:
        """Return the number of the newest version, and how many proposals there are.

        Raises:
            NotFoundError: The dataset was removed.
        """
        version = await in_thread(self._datasets.find, session.guild, session.dataset)
        proposals = await in_thread(self._proposals.read, session.guild, session.dataset)
        return version.number, len(proposals)

    async def save(
        self, session: CaptionSession, changes: Sequence[CaptionChange]
    ) -> tuple[StoredDataset, tuple[CaptionChange, ...]]:
        """Store changed captions as a new version, announce it, and return refused changes.

        Raises:
            RequestError: The person may no longer change the dataset, or a caption is empty.
        """
        save = self.datasets.change_captions
        stored, refused = await in_thread(save, _person(session), session.dataset, changes)
        decided = [one.name for one in changes if one not in refused]
        await in_thread(self._proposals.discard, session.guild, session.dataset, decided)
        self._announce(session, stored)
        return stored, refused

    async def leave_out(self, session: CaptionSession) -> StoredDataset:
        """Store a new version without the samples that lack a caption, and announce it."""
        edits = self.datasets.edits
        person = _person(session)
        stored = await self.datasets.edit(edits.leave_out, person, session.dataset, by=session.by)
        self._announce(session, stored)
        return stored

    async def refuse(self, session: CaptionSession, samples: Collection[str]) -> None:
        """Delete proposals that the person does not want."""
        await in_thread(self.datasets.require_may_edit, _person(session), session.dataset)
        await in_thread(self._proposals.discard, session.guild, session.dataset, samples)

    async def thumbnail(self, session: CaptionSession, name: str) -> bytes:
        """Return a sample's thumbnail as a JPEG."""
        shown = await in_thread(self._looking.newest, session.guild, session.dataset)
        known = shown.draft.thumbnails.jpegs.get(shown.sample(name).source)
        if known is not None:
            return known
        file = await self._file(session, shown, name, "thumbnail")
        return await in_thread(file.read_bytes)

    async def media(self, session: CaptionSession, name: str) -> Path:
        """Return a file with a sample's image or clip as repaired, which is what training sees."""
        shown = await in_thread(self._looking.newest, session.guild, session.dataset)
        return await self._file(session, shown, name, "repaired")

    async def _file(
        self, session: CaptionSession, shown: ShownVersion, name: str, wanted: Wanted
    ) -> Path:
        sample = shown.sample(name)
        async with self._turn(f"{session.id} {wanted}"):
            archive = await in_thread(shown.draft.zip_path)
            return await in_thread(self._files.find, archive, sample, wanted)

    @asynccontextmanager
    async def _turn(self, key: str) -> AsyncGenerator[None]:
        """Let a session convert one file at a time; end the decoding processes when idle."""
        if self._resting is not None:
            self._resting.cancel()
        self._converting += 1
        try:
            async with self._turns.setdefault(key, asyncio.Lock()):
                yield
        finally:
            self._converting -= 1
            if self._converting == 0:
                self._turns.clear()
                loop = asyncio.get_running_loop()
                self._resting = loop.call_later(_IDLE_SECONDS, self._files.rest)

    def _announce(self, session: CaptionSession, stored: StoredDataset) -> None:
        """Post a new version in the background, with what has changed."""
        if not stored.is_new or session.channel is None:
            return

        async def tell() -> None:
            await self.announce(session, await stored_answer(stored))
            older = [number for number in stored.others if number < stored.version.number]
            if older:
                old = f"{stored.version.name}@{max(older)}"
                new = str(stored.version.ref)
                changed = await difference_answer(self.datasets, session.guild, old, new)
                await self.announce(session, changed)

        name = f"announce {stored.version.ref}"
        self._announcements.start(f"{session.guild} {stored.version.ref}", tell, name=name)

    async def finish(self) -> None:
        """Wait for announcements in progress."""
        await self._announcements.finish()

    async def close(self) -> None:
        """End the decoding processes and delete their files."""
        if self._resting is not None:
            self._resting.cancel()
        await in_thread(self._files.close)


def _person(session: CaptionSession) -> GuildMember:
    """Return the person for whom the link was made, with the roles they had at that time."""
    return GuildMember(
        id=session.by,
        guild=session.guild,
        roles=frozenset(session.roles),
        manages_server=session.manages_server,
    )


async def _announce_nowhere(_session: CaptionSession, _answer: DatasetAnswer) -> None:
    """Do nothing: the default for `announce` if there is no chat client."""
