"""What the bot does with runs, for any chat platform."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bot.installation import Installation
from bot.service.datasets import DatasetService
from bot.service.downloads.archive import ZipMember
from bot.service.downloads.bundle import workflow_file
from bot.service.downloads.links import LinkSigner
from bot.service.threads import in_thread
from training.catalogue.models import find_model
from training.dataset.config.group import GroupPlan
from training.dataset.report import Finding
from training.estimates.time_and_cost import Estimate, estimate
from training.operations.run_drafts import Requester
from training.pipeline.advance import open_runs, request_advance
from training.pipeline.checkpoint_sets import require_checkpoints, sets
from training.pipeline.child_process import STOP_SECONDS
from training.pipeline.run_view import RunSummary, RunView
from training.runs.spec import RunSpec, TrainRequest
from training.runs.training_items import remarks
from training.vocabulary import EngineName

_FRESH_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class StartedRun:
    """A stored run with its estimated time and cost."""

    spec: RunSpec
    estimate: Estimate
    groups: GroupPlan
    remarks: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class CheckpointLink:
    """An expiring link to one file of a run."""

    expert: str
    file_name: str
    epoch: int
    size_bytes: int
    url: str


@dataclass(frozen=True, slots=True)
class DownloadLinks:
    """Everything that a run has to download.

    Attributes:
        archive: Link to a zip of all checkpoints.
        pairs: Links to zips of both experts, by epoch.
        workflow: A file for ComfyUI.
    """

    checkpoints: list[CheckpointLink]
    archive: str
    pairs: Mapping[int, str]
    workflow: ZipMember


class Service:
    """The use cases of one installation, each within a guild.

    What needs nothing but a thread is called on `installation` through `in_thread`.
    """

    def __init__(self, installation: Installation, signer: LinkSigner, engine: EngineName) -> None:
        self.installation = installation
        self.datasets = DatasetService(installation)
        self._signer = signer
        self._engine: EngineName = engine
        self._listings: dict[str, asyncio.Task[list[RunSummary]]] = {}
        self._insisting = set[asyncio.Task[None]]()

    async def train(self, request: TrainRequest, requester: Requester) -> StartedRun:
        """Store a run and start it; repeating an interaction returns the same run."""

        def start() -> StartedRun:
            spec = self.installation.runs.start(request, requester, self._engine)
            runtime = self.installation.runtime
            groups = runtime.groups(spec)
            cost = estimate(
                find_model(spec.model),
                groups,
                spec.experts,
                gpu=spec.gpu,
                prices=runtime.prices(),
            )
            return StartedRun(spec, cost, groups, remarks(spec.dataset_toml, runtime.report(spec)))

        return await in_thread(start)

    async def cancel(self, guild: str, run: str, *, by: str) -> RunView:
        """Ask a run to stop and return its state."""

        def cancel() -> RunView:
            self.installation.runs.cancel(guild, run, by=by)
            return self.installation.runs.view(guild, run)

        view = await in_thread(cancel)
        if not view.run.status.is_final:
            self._insist_later(guild, run)
        return view

    def _insist_later(self, guild: str, run: str) -> None:
        """Advance a cancelled run once its stages may be killed."""

        async def insist() -> None:
            await asyncio.sleep(STOP_SECONDS)
            await in_thread(request_advance, self.installation.runtime, guild, run)

        task = asyncio.create_task(insist(), name=f"end {run}")
        self._insisting.add(task)
        task.add_done_callback(self._insisting.discard)

    async def run(self, guild: str, name: str) -> RunView:
        """Return the current state of one run."""
        return await in_thread(self.installation.runs.view, guild, name)

    async def run_states(self, guild: str, *, patience_seconds: float) -> dict[str, str]:
        """Return the state of each run by name, newest first; only names if that takes too long.

        Requests within seconds of each other, as while somebody types, share one answer.
        """
        listing = self._listings.get(guild)
        if listing is None:
            summaries = in_thread(self.installation.runs.summaries, guild)
            listing = asyncio.create_task(summaries, name=f"runs of {guild}")
            self._listings[guild] = listing
            listing.add_done_callback(lambda _task: self._forget_soon(guild))
        await asyncio.wait({listing}, timeout=patience_seconds)
        if listing.done():
            return {run.name: run.state for run in listing.result()}
        return dict.fromkeys(await in_thread(self.installation.runs.names, guild), "")

    def _forget_soon(self, guild: str) -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(_FRESH_SECONDS, self._listings.pop, guild)

    async def open_runs(self) -> list[tuple[str, str]]:
        """Return (guild, run) of all open runs, and make sure that a worker advances them."""

        def tend() -> list[tuple[str, str]]:
            found = open_runs(self.installation.runtime)
            if found:
                self.installation.ensure_worker()
            return found

        return await in_thread(tend)

    async def links(self, guild: str, run: str) -> DownloadLinks:
        """Return links to a run's checkpoints, and a workflow that loads the newest.

        Raises:
            NotFoundError: The run does not exist or has no checkpoint.
        """
        view = await self.run(guild, run)
        require_checkpoints(view)
        links = [
            CheckpointLink(
                expert=expert.name,
                file_name=Path(checkpoint.file).name,
                epoch=checkpoint.epoch,
                size_bytes=checkpoint.size_bytes,
                url=self._signer.link(guild, run, checkpoint.file),
            )
            for expert in view.spec.experts
            for checkpoint in view.run.expert(expert.name).checkpoints
        ]
        pairs = {
            one.epoch: self._signer.archive_link(guild, run, one.epoch)
            for one in sets(view.run)
            if one.is_complete and len(one.files) > 1
        }
        workflow = workflow_file(view.run)
        return DownloadLinks(links, self._signer.archive_link(guild, run), pairs, workflow)
