"""What the bot can do, for any chat platform: the one place where threads meet the event loop."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar

from bot.dataset_service import DatasetService
from bot.web.links import LinkSigner
from bot.wiring import LocalHouse
from training.advance import open_runs
from training.catalogue import find_model
from training.cost import Estimate, estimate
from training.cutting import remarks
from training.dataset.group import GroupPlan
from training.dataset.report import Finding
from training.request import EngineName, RunSpec, TrainRequest
from training.runs import Origin, require_checkpoints
from training.view import RunSummary, RunView

P = ParamSpec("P")
T = TypeVar("T")


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


class Service:
    """The use cases of one installation; everything is asked for within a guild.

    Attributes:
        datasets: Those of datasets.
    """

    def __init__(self, local: LocalHouse, signer: LinkSigner, engine: EngineName) -> None:
        self._local = local
        self._signer = signer
        self._engine: EngineName = engine
        self.datasets = DatasetService(local)

    async def train(self, request: TrainRequest, origin: Origin) -> StartedRun:
        """Store a run and start it; the same interaction gives the same run."""

        def start() -> StartedRun:
            spec = self._local.runs.start(request, origin, self._engine)
            report = self._local.house.report(spec)
            groups = self._local.house.groups(spec)
            cost = estimate(find_model(spec.model), groups, spec.experts)
            return StartedRun(spec, cost, groups, remarks(spec.dataset_toml, report))

        return await _in_thread(start)

    async def resume(self, run: str, origin: Origin) -> RunSpec:
        """Store a new run that goes on where a failed or cancelled one stopped."""
        return await _in_thread(self._local.runs.resume, run, origin)

    async def try_again(self, run: str, origin: Origin) -> RunSpec:
        """Store a new run of what a failed one lacks, changed as its failure suggests."""
        return await _in_thread(self._local.runs.try_again, run, origin)

    async def cancel(self, guild: str, run: str, *, by: str) -> RunView:
        """Ask a run to stop and return how it stands."""

        def cancel() -> RunView:
            self._local.runs.cancel(guild, run, by=by)
            return self._local.runs.view(guild, run)

        return await _in_thread(cancel)

    async def run(self, guild: str, name: str) -> RunView:
        """Return one run as it stands now."""
        return await _in_thread(self._local.runs.view, guild, name)

    async def runs(self, guild: str) -> list[RunSummary]:
        """Return all runs, newest first."""
        return await _in_thread(self._local.runs.summaries, guild)

    async def run_names(self, guild: str) -> list[str]:
        """Return the names of all runs."""
        return await _in_thread(self._local.runs.names, guild)

    async def open_runs(self) -> list[tuple[str, str]]:
        """Return (guild, run) of all runs that have not ended, and see that they are worked on."""

        def tend() -> list[tuple[str, str]]:
            found = open_runs(self._local.house, self._local.guilds())
            if found:
                self._local.ensure_worker()
            return found

        return await _in_thread(tend)

    async def links(self, guild: str, run: str) -> tuple[list[CheckpointLink], str]:
        """Return a link for every checkpoint of a run and one for all of them as a zip.

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
        return links, self._signer.archive_link(guild, run)


async def _in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    return await asyncio.to_thread(function, *args, **kwargs)
