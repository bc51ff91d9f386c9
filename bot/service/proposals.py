"""Proposes captions for a dataset: what it would take, and doing it."""

import uuid
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

from bot.installation import Installation
from bot.service.datasets import DatasetService
from bot.service.rights import GuildMember
from bot.service.threads import in_thread
from training.captioning.captioner import Captioner
from training.captioning.frames import frame_count
from training.captioning.propose import ProposalsMade, Which, propose_captions, wanted_samples
from training.captioning.templates import TEMPLATES, LoraKind
from training.dataset.report import OnProgress
from training.errors import RequestError
from training.pipeline.leases import heartbeat, ignore_loss
from training.ports import Leases
from training.registry.datasets import DatasetVersion
from training.vocabulary import EngineName


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposalPlan:
    """What proposing captions would take.

    Attributes:
        samples: Number of samples that would get a proposal.
        frames: Number of frames that the captioner would see.
    """

    version: DatasetVersion
    which: Which
    kind: LoraKind
    samples: int
    frames: int
    captioner: Captioner


class ProposalService:
    """Plans and makes proposals. Nothing here changes a caption."""

    def __init__(
        self, installation: Installation, datasets: DatasetService, engine: EngineName
    ) -> None:
        self._installation, self._datasets = installation, datasets
        self._engine: EngineName = engine

    async def plan(
        self, person: GuildMember, reference: str, which: Which, kind: LoraKind
    ) -> ProposalPlan:
        """Return what proposing captions would take.

        An upload that waits for captions is first stored as an incomplete version.

        Raises:
            RequestError: The person may not change the dataset, there is nothing to propose, or no
                captioner is set up.
        """
        captioner = self._installation.captioner(self._engine)
        token = await self._datasets.waiting(person.guild, reference)

        def plan() -> ProposalPlan:
            name = reference
            if token is not None:
                name = str(self._datasets.store_incomplete(person, token).version.ref)
            self._datasets.require_may_edit(person, name)
            return plan_proposals(self._installation, person.guild, name, which, kind, captioner)

        return await in_thread(plan)

    async def propose(
        self, person: GuildMember, plan: ProposalPlan, on_progress: OnProgress
    ) -> ProposalsMade:
        """Propose the captions and store the proposals.

        Raises:
            RequestError: The person may not change the dataset, or captions are being proposed for
                it already.
            CaptionerError: The captioner cannot be used; the proposals made so far are stored.
        """

        def propose() -> ProposalsMade:
            self._datasets.require_may_edit(person, str(plan.version.ref))
            return make_proposals(self._installation, person.guild, plan, on_progress)

        return await in_thread(propose)


def plan_proposals(  # what is captioned, by whom and how
    installation: Installation,
    guild: str,
    reference: str,
    which: Which,
    kind: LoraKind,
    captioner: Captioner,
) -> ProposalPlan:
    """Return what proposing captions for a stored version would take.

    Raises:
        NotFoundError: The guild has no such version.
        RequestError: There is nothing to propose.
    """
    version = installation.datasets.find(guild, reference)
    samples = wanted_samples(installation.datasets.report(guild, version), which)
    return ProposalPlan(
        version=version,
        which=which,
        kind=kind,
        samples=len(samples),
        frames=sum(map(frame_count, samples)),
        captioner=captioner,
    )


def make_proposals(
    installation: Installation, guild: str, plan: ProposalPlan, on_progress: OnProgress
) -> ProposalsMade:
    """Carry out a plan; see `propose_captions`.

    Raises:
        RequestError: Captions are being proposed for the dataset already.
    """
    with _alone(installation.runtime.leases, guild, plan.version.name):
        return propose_captions(
            installation.datasets,
            installation.proposals,
            guild,
            str(plan.version.ref),
            plan.which,
            plan.captioner,
            TEMPLATES[plan.kind],
            on_progress,
        )


@contextmanager
def _alone(leases: Leases, guild: str, name: str) -> Generator[None]:
    """Keep a button pressed twice from paying twice."""
    grant = leases.acquire(f"captioning/{guild}/{name}", holder=uuid.uuid4().hex)
    if grant is None:
        raise RequestError(
            f"Captions are being proposed for {name} already.", "Wait until they are there."
        )
    try:
        with heartbeat(leases, grant, ignore_loss):
            yield
    finally:
        leases.release(grant)
