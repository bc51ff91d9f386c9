"""Captions that a captioner proposes for a dataset; they count only once a person accepts them."""

import logging
from collections.abc import Callable, Collection, Iterable, Mapping

from pydantic import BaseModel, ConfigDict, ValidationError

from training import store_keys
from training.dataset.report import Sample
from training.pipeline.leases import hold_lease
from training.ports import Leases, Store

logger = logging.getLogger(__name__)


class Proposal(BaseModel):
    """A proposed caption of one sample.

    Attributes:
        captioner: What wrote the text, in words that users may read.
        sha256: Hash of the file that it describes, as in `Sample.sha256`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str
    captioner: str
    sha256: str


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    proposals: dict[str, Proposal]


class Proposals:
    """The proposed captions of all datasets: one file each, which all versions of a dataset share.

    They are keyed by sample name. Simultaneous changes are made one after the other, so none is
    lost.
    """

    def __init__(self, store: Store, leases: Leases) -> None:
        self._store, self._leases = store, leases

    def read(self, guild: str, name: str) -> Mapping[str, Proposal]:
        """Return the proposals of a dataset; see `fitting` for those of one version.

        A damaged file counts as empty, because a captioner can write it again.
        """
        key = store_keys.proposals(guild, name)
        try:
            return _Record.model_validate_json(self._store.read(key)).proposals
        except FileNotFoundError:
            return {}
        except ValidationError:
            logger.warning("%s is damaged; its proposals are lost", key)
            return {}

    def write(self, guild: str, name: str, proposals: Mapping[str, Proposal]) -> None:
        """Add proposals; a sample's new proposal replaces its old one."""
        if proposals:
            self._change(guild, name, lambda old: {**old, **proposals})

    def discard(self, guild: str, name: str, samples: Collection[str]) -> None:
        """Remove the proposals of samples, such as those that a person accepted or refused."""
        unwanted = set(samples)
        if unwanted.intersection(self.read(guild, name)):
            self._change(
                guild, name, lambda old: {one: old[one] for one in old if one not in unwanted}
            )

    def _change(
        self,
        guild: str,
        name: str,
        change: Callable[[Mapping[str, Proposal]], dict[str, Proposal]],
    ) -> None:
        key = store_keys.proposals(guild, name)
        with hold_lease(self._leases, key):
            new = change(self.read(guild, name))
            if new:
                self._store.write(key, _Record(proposals=new).model_dump_json(indent=1).encode())
            else:
                self._store.delete(key)


def fitting(proposals: Mapping[str, Proposal], samples: Iterable[Sample]) -> dict[str, Proposal]:
    """Return the proposals that describe these samples; those of replaced files are left out."""
    found = ((sample, proposals.get(sample.name)) for sample in samples)
    return {
        sample.name: proposal
        for sample, proposal in found
        if proposal is not None and proposal.sha256 == sample.sha256
    }
