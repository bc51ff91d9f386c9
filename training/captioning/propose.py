"""Has a captioner propose captions for the samples of a dataset, and stores the proposals."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from training.captioning.captioner import Captioner, CaptionRequest, NoCaptionError
from training.captioning.frames import Frames, frames_of
from training.captioning.templates import Template
from training.dataset.report import OnProgress, Report, Sample, no_progress
from training.errors import RequestError
from training.registry.datasets import Datasets, DatasetVersion
from training.registry.proposals import Proposal, Proposals

logger = logging.getLogger(__name__)
Which = Literal["missing", "all"]
_STORED_TOGETHER = 10  # so that an interruption loses few proposals


@dataclass(frozen=True, slots=True)
class ProposalsMade:
    """The result of captioning a dataset.

    Attributes:
        made: Number of samples that now have a new proposal.
        failed: Why the other samples have none, by sample name.
    """

    version: DatasetVersion
    made: int
    failed: dict[str, str]


def wanted_samples(report: Report, which: Which) -> list[Sample]:
    """Return the samples to propose captions for.

    Raises:
        RequestError: There are none.
    """
    missing = {sample.name for sample in report.without_caption}
    found = [one for one in report.samples if which == "all" or one.name in missing]
    if not found:
        raise RequestError(
            "Every sample has a caption already.", "To get proposals anyway, choose all samples."
        )
    return found


def propose_captions(  # noqa: PLR0913  # what is captioned, by whom, how, and where it is stored
    datasets: Datasets,
    proposals: Proposals,
    guild: str,
    reference: str,
    which: Which,
    captioner: Captioner,
    template: Template,
    on_progress: OnProgress = no_progress,
) -> ProposalsMade:
    """Propose captions for samples of a dataset version, and store the proposals as they come.

    Raises:
        NotFoundError: The guild has no such version.
        RequestError: There is nothing to propose.
        CaptionerError: The captioner cannot be used; the proposals made so far are stored.
    """
    version = datasets.find(guild, reference)
    draft = datasets.draft(guild, version)
    samples = wanted_samples(draft.report, which)
    made, failed = 0, dict[str, str]()
    new: dict[str, Proposal] = {}
    try:
        found = frames_of(draft.zip_path(), samples, datasets.limits)
        for done, (sample, frames) in enumerate(found, start=1):
            try:
                text = _proposed(captioner, sample, frames, version.trigger, template)
            except NoCaptionError as error:
                failed[sample.name] = str(error)
            else:
                made += 1
                new[sample.name] = Proposal(
                    text=text, captioner=captioner.label, sha256=sample.sha256
                )
            if len(new) >= _STORED_TOGETHER:
                proposals.write(guild, version.name, new)
                new = {}
            on_progress(done, len(samples))
    finally:
        proposals.write(guild, version.name, new)
    logger.info("%s: %d of %d captions proposed", version.ref, made, len(samples))
    return ProposalsMade(version, made, failed)


def _proposed(
    captioner: Captioner, sample: Sample, frames: Frames, trigger: str | None, template: Template
) -> str:
    if isinstance(frames, NoCaptionError):
        raise frames
    request = CaptionRequest(
        frames=frames,
        kind=sample.kind,
        seconds=sample.seconds or 0.0,
        width=sample.width,
        height=sample.height,
        trigger=trigger,
        template=template,
    )
    return captioner.propose(request)


def summary_of(failed: dict[str, str]) -> Sequence[tuple[str, int]]:
    """Return the reasons for missing proposals and how many samples each concerns."""
    reasons = list(failed.values())
    return [(reason, reasons.count(reason)) for reason in dict.fromkeys(reasons)]
