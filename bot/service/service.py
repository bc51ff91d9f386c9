"""What the bot can do, for any chat platform: the one place where threads meet the event loop."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar

from bot.installation import Installation
from bot.service.datasets import DatasetService
from bot.service.downloads.archive import ZipMember
from bot.service.downloads.bundle import workflow_file
from bot.service.downloads.links import LinkSigner
from training.catalogue.models import find_model
from training.dataset.config.group import GroupPlan
from training.dataset.report import Finding
from training.estimates.prices import PriceList
from training.estimates.time_and_cost import Estimate, estimate
from training.operations.run_drafts import Requester
from training.pipeline.advance import open_runs, request_advance
from training.pipeline.checkpoint_sets import require_checkpoints, sets
from training.pipeline.child_process import STOP_SECONDS
from training.pipeline.log_tail import LogTail, log_tail
from training.pipeline.run_view import RunSummary, RunView
from training.registry.loras import StoredLora, expert_named
from training.runs.spec import RunSpec, TrainRequest
from training.runs.training_items import remarks
from training.vocabulary import EngineName

P = ParamSpec("P")
T = TypeVar("T")
_FRESH_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class StartedRun:
    """A stored run with what it is expected to take."""

    spec: RunSpec
    estimate: Estimate
    groups: GroupPlan
    remarks: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class CheckpointLink:
    """One file of a run with an address that expires."""

    expert: str
    file_name: str
    epoch: int
    size_bytes: int
    url: str


@dataclass(frozen=True, slots=True)
class DownloadLinks:
    """What `/download` hands out.

    `pairs` are zips of both experts by epoch; `workflow` is a file for ComfyUI.
    """

    checkpoints: list[CheckpointLink]
    archive: str
    pairs: Mapping[int, str]
    workflow: ZipMember


class Service:
    """The use cases of one installation; everything is asked for within a guild.

    Attributes:
        datasets: Those of datasets.
    """

    def __init__(self, local: Installation, signer: LinkSigner, engine: EngineName) -> None:
        self._local = local
        self._signer = signer
        self._engine: EngineName = engine
        self.datasets = DatasetService(local)
        self._listings: dict[str, asyncio.Task[list[RunSummary]]] = {}
        self._insisting = set[asyncio.Task[None]]()

    async def add_checkpoint(
        self, guild: str, file: Path, *, model: str, expert: str, name: str, by: str
    ) -> StoredLora:
        """Store a LoRA file that trainings can start from; empty texts stand for what is found."""
        chosen = expert_named(expert) if expert else None
        return await _in_thread(
            self._local.checkpoints.add,
            guild,
            file,
            model=model,
            expert=chosen,
            name=name or None,
            by=by,
        )

    async def checkpoints(self, guild: str) -> list[StoredLora]:
        """Return the LoRA files that trainings can start from."""
        return await _in_thread(self._local.checkpoints.all, guild)

    async def remove_checkpoint(self, guild: str, name: str) -> StoredLora:
        """Remove a LoRA file; runs that started from it keep their own copy."""
        return await _in_thread(self._local.checkpoints.remove, guild, name)

    async def starting_points(self, guild: str, typed: str) -> dict[str, str]:
        """Return what `resume-from` can name and fits what was typed, each with a description."""
        return await _in_thread(self._local.runs.starts.names, guild, typed)

    async def gpu_prices(self) -> PriceList:
        """Return what each GPU that a run can ask for costs."""
        return await _in_thread(self._local.runtime.prices)

    async def train(self, request: TrainRequest, origin: Requester) -> StartedRun:
        """Store a run and start it; the same interaction gives the same run."""

        def start() -> StartedRun:
            spec = self._local.runs.start(request, origin, self._engine)
            report = self._local.runtime.report(spec)
            groups = self._local.runtime.groups(spec)
            cost = estimate(
                find_model(spec.model),
                groups,
                spec.experts,
                gpu=spec.gpu,
                prices=self._local.runtime.prices(),
            )
            return StartedRun(spec, cost, groups, remarks(spec.dataset_toml, report))

        return await _in_thread(start)

    async def resume(self, run: str, origin: Requester) -> RunSpec:
        """Store a new run that goes on where a failed or cancelled one stopped."""
        return await _in_thread(self._local.runs.resume, run, origin)

    async def try_again(self, run: str, origin: Requester) -> RunSpec:
        """Store a new run of what a failed one lacks, changed as its failure suggests."""
        return await _in_thread(self._local.runs.try_again, run, origin)

    async def cancel(self, guild: str, run: str, *, by: str) -> RunView:
        """Ask a run to stop and return how it stands."""

        def cancel() -> RunView:
            self._local.runs.cancel(guild, run, by=by)
            return self._local.runs.view(guild, run)

        view = await _in_thread(cancel)
        if not view.run.status.is_final:
            self._insist_later(guild, run)
        return view

    def _insist_later(self, guild: str, run: str) -> None:
        """Have what was asked to stop, and does not, be killed as soon as that is due."""

        async def insist() -> None:
            await asyncio.sleep(STOP_SECONDS)
            await _in_thread(request_advance, self._local.runtime, guild, run)

        task = asyncio.create_task(insist(), name=f"end {run}")
        self._insisting.add(task)
        task.add_done_callback(self._insisting.discard)

    async def run(self, guild: str, name: str) -> RunView:
        """Return one run as it stands now."""
        return await _in_thread(self._local.runs.view, guild, name)

    async def log_tail(self, view: RunView) -> LogTail | None:
        """Return the last lines that a run's programs have printed, where there are any."""
        return await _in_thread(log_tail, self._local.runtime, view.run)

    async def runs(self, guild: str) -> list[RunSummary]:
        """Return all runs, newest first."""
        return await _in_thread(self._local.runs.summaries, guild)

    async def run_states(self, guild: str, *, patience_seconds: float) -> dict[str, str]:
        """Return the state of each run by name, newest first; only names when it takes too long.

        Who asks again within seconds, with every letter that they type, gets the same answer.
        """
        listing = self._listings.get(guild)
        if listing is None:
            listing = asyncio.create_task(self.runs(guild), name=f"runs of {guild}")
            self._listings[guild] = listing
            listing.add_done_callback(lambda _task: self._forget_soon(guild))
        await asyncio.wait({listing}, timeout=patience_seconds)
        if listing.done():
            return {run.name: run.state for run in listing.result()}
        return dict.fromkeys(await _in_thread(self._local.runs.names, guild), "")

    def _forget_soon(self, guild: str) -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(_FRESH_SECONDS, self._listings.pop, guild)

    async def open_runs(self) -> list[tuple[str, str]]:
        """Return (guild, run) of all runs that have not ended, and see that they are worked on."""

        def tend() -> list[tuple[str, str]]:
            found = open_runs(self._local.runtime)
            if found:
                self._local.ensure_worker()
            return found

        return await _in_thread(tend)

    async def links(self, guild: str, run: str) -> DownloadLinks:
        """Return links to the checkpoints of a run, and a workflow that loads the newest.

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


async def _in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    return await asyncio.to_thread(function, *args, **kwargs)
