"""The use cases for runs, on any chat platform."""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bot.installation import Installation
from bot.messages.runs.downloads import CheckpointLink, EpochLinks
from bot.service.captions.captions import CaptionService
from bot.service.datasets import DatasetService
from bot.service.downloads.bundle import workflow_file
from bot.service.downloads.downloads import Downloads
from bot.service.hub_tokens import HubTokens
from bot.service.imports.imports import ImportOptions, Imports
from bot.service.links import LinkSigner
from bot.service.loras import LoraService
from bot.service.plans import PlanService
from bot.service.proposals import ProposalService
from bot.service.rights import GuildMember, Rights
from bot.service.run_lists import RunLists
from bot.service.server_settings import ServerSettings, SettingsStore
from bot.service.storage import StorageService
from bot.service.threads import in_thread
from bot.service.trash import TrashService
from bot.service.uploads.uploads import UploadService
from training.errors import NotFoundError, TrainingError
from training.operations.asked_saves import finish_here, save_now
from training.operations.run_drafts import Requester
from training.operations.run_plans import RunPlan
from training.operations.trash.run_removal import RemovedRun
from training.pipeline.advance import open_runs, request_advance
from training.pipeline.checkpoint_sets import CheckpointSet, require_checkpoints, sets
from training.pipeline.child_process import STOP_SECONDS
from training.pipeline.run_view import RunView
from training.runs.spec import RunSpec
from training.vocabulary import EngineName

_CLEAN_UP_SECONDS = 60 * 60  # how often to check whether a clean-up is due
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DownloadLinks:
    """Links to everything that can be downloaded from a run.

    Attributes:
        view: The state of the run when the links were made.
        epochs: Links to the checkpoints of each epoch, newest first.
        newest: The newest epoch with a checkpoint of every expert, or else the newest epoch.
        archive: Link to a zip of all checkpoints.
        workflow: Name and content of a ComfyUI workflow.
    """

    view: RunView
    epochs: list[EpochLinks]
    newest: EpochLinks
    archive: str
    workflow: tuple[str, bytes]

    def of_epoch(self, epoch: int) -> EpochLinks:
        """Return the links to the checkpoints of one epoch.

        Raises:
            NotFoundError: The run has no checkpoint of this epoch.
        """
        for one in self.epochs:
            if one.epoch == epoch:
                return one
        raise NotFoundError(
            f"{self.view.spec.name} has no checkpoint of epoch {epoch}.", "Choose another epoch."
        )


class Service:
    """The use cases of one installation. Each call concerns one guild.

    Every method that may change other people's items takes the person who requests the change, and
    raises `RequestError` unless they may make it. Use cases that need neither rights nor links have
    no method here: chat platforms call `installation` directly, through `in_thread`.
    """

    def __init__(
        self,
        installation: Installation,
        signer: LinkSigner,
        engine: EngineName,
        imports: ImportOptions | None = None,
    ) -> None:
        self.installation = installation
        self.settings = SettingsStore(installation.runtime)
        self.rights = Rights(self.settings)
        self.plans = PlanService(installation, self.rights, self.settings, engine)
        self.datasets = DatasetService(installation, self.rights)
        self.proposals = ProposalService(installation, self.datasets, engine)
        self.loras = LoraService(installation, self.rights)
        self.trash = TrashService(installation, self.rights)
        self.storage = StorageService(installation, self.rights)
        self.captions = CaptionService(installation, self.datasets, signer)
        self.uploads = UploadService(
            installation, self.captions, self.loras, rights=self.rights, signer=signer
        )
        store, settings = installation.runtime.store, installation.settings
        self.hub_tokens = HubTokens(store, settings, self.rights)
        self.imports = Imports(self.uploads, options=imports, token=self.hub_tokens.find)
        self.run_lists = RunLists(installation)
        self.downloads = Downloads(installation.runtime.store, signer)
        self._signer = signer
        self._insisting = set[asyncio.Task[None]]()

    async def resume(self, person: GuildMember, run: str, requester: Requester) -> RunSpec:
        """Resume a failed or cancelled run as a new run."""

        def resume() -> RunSpec:
            self._require_owner(person, run, act="resume")
            return self.installation.runs.resume(run, requester)

        return await in_thread(resume)

    async def try_again(self, person: GuildMember, run: str, requester: Requester) -> RunSpec:
        """Retry a failed run with the change that its failure suggests."""

        def retry() -> RunSpec:
            self._require_owner(person, run, act="retry")
            return self.installation.runs.try_again(run, requester)

        return await in_thread(retry)

    async def train_on_clips(self, person: GuildMember, run: str, requester: Requester) -> RunPlan:
        """Replace a run that has saved nothing yet with one that leaves out single frames."""
        runs = self.installation.runs

        def replace() -> RunPlan:
            self._require_owner(person, run, act="replace")
            return runs.plan_of(runs.train_on_clips(run, requester))

        started = await in_thread(replace)
        replaced = await in_thread(runs.view, person.guild, run)
        if not replaced.run.status.is_final:
            await self.cancel(person, run)
        return started

    async def cancel(self, person: GuildMember, run: str) -> RunView:
        """Ask a run to stop, and return its state."""

        def cancel() -> RunView:
            self._require_owner(person, run, act="cancel")
            self.installation.runs.cancel(person.guild, run, by=person.id)
            return self.installation.runs.view(person.guild, run)

        view = await in_thread(cancel)
        if not view.run.status.is_final:
            self._insist_later(person.guild, run)
        return view

    async def save_now(self, person: GuildMember, run: str) -> None:
        """Ask every expert that is training to save a checkpoint after its current step."""

        def save() -> None:
            self._require_owner(person, run, act="save")
            save_now(self.installation.runtime, self._view(person, run), by=person.id)

        await in_thread(save)

    async def finish_here(self, person: GuildMember, run: str) -> None:
        """Ask every expert to end after its current step, as if it had finished training."""

        def finish() -> None:
            self._require_owner(person, run, act="stop")
            finish_here(self.installation.runtime, self._view(person, run), by=person.id)

        await in_thread(finish)

    def _view(self, person: GuildMember, run: str) -> RunView:
        return self.installation.runs.view(person.guild, run)

    def _require_owner(self, person: GuildMember, run: str, *, act: str) -> None:
        owner = self.installation.runtime.log(person.guild, run).spec().requested_by
        self.rights.require_owner(person, owner, what=f"The run {run}", act=act)

    async def remove_run(self, person: GuildMember, run: str) -> RemovedRun:
        """Remove a run that has ended, with everything it saved."""

        def remove() -> RemovedRun:
            self._require_owner(person, run, act="remove")
            return self.installation.run_removals.remove(person.guild, run, by=person.id)

        return await in_thread(remove)

    def _insist_later(self, guild: str, run: str) -> None:
        """Advance a cancelled run again, once its stages have had time to stop by themselves."""

        async def insist() -> None:
            await asyncio.sleep(STOP_SECONDS)
            await in_thread(request_advance, self.installation.runtime, guild, run)

        task = asyncio.create_task(insist(), name=f"end {run}")
        self._insisting.add(task)
        task.add_done_callback(self._insisting.discard)

    async def server_settings(
        self, person: GuildMember, changes: Mapping[str, str | bool | float | None]
    ) -> ServerSettings:
        """Apply `changes` to a server's settings, and return the settings."""

        def change() -> ServerSettings:
            self.rights.require_manager(person, act="see and change the bot's settings")
            return self.settings.change(person.guild, by=person.id, **changes)

        return await in_thread(change)

    async def keep_clean(self) -> None:
        """Clean up once a day, until cancelled."""
        while True:
            try:
                await in_thread(self.installation.clean_up_daily)
            except (OSError, TrainingError):
                logger.warning("the daily clean-up failed", exc_info=True)
            await asyncio.sleep(_CLEAN_UP_SECONDS)

    async def open_runs(self) -> list[tuple[str, str]]:
        """Return all unfinished runs as (guild, run), and make sure that a worker advances them."""

        def tend() -> list[tuple[str, str]]:
            found = open_runs(self.installation.runtime)
            if found:
                try:
                    self.installation.ensure_worker()
                except OSError as error:
                    # Cards can be shown without a worker; the next call tries to start it again.
                    logger.warning("the worker service cannot be started: %s", error)
            return found

        return await in_thread(tend)

    async def links(self, guild: str, run: str) -> DownloadLinks:
        """Return links to a run's checkpoints, and a workflow that loads the newest ones.

        Raises:
            NotFoundError: The run does not exist or has no checkpoint.
        """
        view = await in_thread(self.installation.runs.view, guild, run)
        require_checkpoints(view)
        revoked = await in_thread(self.downloads.revocations.count, guild, run)
        epochs = [self._epoch_links(view, one, revoked) for one in sets(view.run)]
        archive = self._signer.archive_link(guild, run, revocations=revoked)
        pairs = [one for one in epochs if len(one.files) == len(view.spec.experts)]
        newest = next(iter(pairs), epochs[0])
        return DownloadLinks(view, epochs, newest, archive, workflow_file(view.run))

    async def checkpoint_links(self, view: RunView, files: Iterable[str]) -> dict[str, str]:
        """Return links to the given checkpoints of a run, by file."""
        guild, run = view.spec.guild, view.spec.name
        revoked = await in_thread(self.downloads.revocations.count, guild, run)
        return {file: self._signer.link(guild, run, file, revoked) for file in files}

    async def revoke_links(self, person: GuildMember, run: str) -> None:
        """Revoke all links made so far to a run's files."""

        def revoke() -> None:
            self._require_owner(person, run, act="revoke links to")
            self.downloads.revoke(person.guild, run)

        await in_thread(revoke)

    def _epoch_links(self, view: RunView, one: CheckpointSet, revoked: int) -> EpochLinks:
        guild, run, signer = view.spec.guild, view.spec.name, self._signer
        links = [
            CheckpointLink(
                expert=expert,
                file_name=Path(file.file).name,
                size_bytes=file.size_bytes,
                loss=view.run.expert(expert).losses.get(one.epoch),
                url=signer.link(guild, run, file.file, revoked),
            )
            for expert, file in one.files.items()
        ]
        is_pair = len(links) > 1
        archive = signer.archive_link(guild, run, one.epoch, revoked) if is_pair else None
        return EpochLinks(one.epoch, tuple(links), archive)
