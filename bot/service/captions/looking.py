"""What a caption page shows: the newest version's samples with captions, origins and remarks."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock

from training.dataset.captions.origin import CaptionOrigin
from training.dataset.report import Sample
from training.dataset.sample_remarks import JudgedCaption, Remark, judge_caption, remarks_on_files
from training.errors import NotFoundError
from training.registry.dataset_draft import DatasetDraft
from training.registry.datasets import Datasets, DatasetVersion

_MOST_KEPT = 4  # versions in memory


@dataclass(frozen=True, slots=True)
class ShownSample:
    """A sample with the origin of its caption, if known, and what is remarkable about it."""

    sample: Sample
    origin: CaptionOrigin | None
    judged: JudgedCaption
    on_file: tuple[Remark, ...]


@dataclass(frozen=True, slots=True)
class ShownVersion:
    """A version as its caption page shows it."""

    version: DatasetVersion
    draft: DatasetDraft
    samples: Mapping[str, ShownSample]

    def sample(self, name: str) -> Sample:
        """Return the sample called `name`; raise `NotFoundError` if there is none."""
        if name not in self.samples:
            raise NotFoundError(f"{self.version.ref} has no sample {name!r}.", "Reload the page.")
        return self.samples[name].sample


class Looking:
    """Reads versions for caption pages, and keeps the last few in memory."""

    def __init__(self, datasets: Datasets) -> None:
        self._datasets = datasets
        self._changing = Lock()
        self._kept: OrderedDict[tuple[str, str], ShownVersion] = OrderedDict()

    def newest(self, guild: str, name: str) -> ShownVersion:
        """Return the newest version of a dataset.

        Raises:
            NotFoundError: There is no such dataset.
        """
        version = self._datasets.find(guild, name)
        key = (guild, str(version.ref))
        with self._changing:
            if (known := self._kept.get(key)) is not None and known.version == version:
                self._kept.move_to_end(key)
                return known
        shown = self._show(guild, version)
        with self._changing:
            self._kept[key] = shown
            while len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)
        return shown

    def _show(self, guild: str, version: DatasetVersion) -> ShownVersion:
        draft = self._datasets.draft(guild, version)
        on_files = remarks_on_files(draft.report)
        samples = {
            sample.name: ShownSample(
                sample,
                draft.captions[sample.name].origin if sample.name in draft.captions else None,
                judge_caption(sample.caption, version.trigger),
                tuple(on_files.get(sample.source, ())),
            )
            for sample in draft.report.samples
        }
        return ShownVersion(version, draft, samples)
