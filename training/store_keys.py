"""The layout of the store: every key is built here."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Literal

from training.catalogue.models import WeightFile
from training.vocabulary import ExpertName, StageKey

CacheKind = Literal["latents", "texts"]
# What can be fetched or made again, what users uploaded and what derives from it, what runs left.
Area = Literal["models", "datasets", "runs"]

OPEN_RUNS = "open"  # one marker per run, so that one listing finds all open runs
GUILDS = "guilds"
MERGED = "merged"
NOTICES = "bot/notices"
DEPLOYMENT = "bot/deployment.json"  # settings remembered between deploys
UNANNOUNCED = "bot/unannounced"  # one marker per run whose end is not announced yet
ORIGINAL = "original.zip"
REPORT = "report.json"
MANIFEST = "manifest.json"
SPEC = "spec.json"
CAPTIONS = "captions.json"
THUMBNAILS = "thumbnails.json"
_COMMIT = re.compile(r"[0-9a-f]{40}")

_OF_GUILD: Mapping[str, Area] = MappingProxyType(
    {
        **dict.fromkeys(("datasets", "checked", "prepared", "caches", "checkpoints"), "datasets"),
        **dict.fromkeys(("runs", "requests"), "runs"),
    }
)


def area(key: str) -> Area:
    """Return the area of a key; a store may keep each area on a volume of its own.

    Raises:
        ValueError: Not a key of the store.
    """
    first, *rest = key.split("/")
    if first in ("models", "merged"):
        return "models"
    if first in ("bot", OPEN_RUNS):
        return "runs"
    if first == "guilds" and len(rest) > 1 and rest[1] in _OF_GUILD:
        return _OF_GUILD[rest[1]]
    raise ValueError(f"not a key of the store: {key!r}")


def is_written_once(key: str) -> bool:
    """Return whether the file at `key` never changes and its key is never used again."""
    *folders, name = key.split("/")
    if name == MANIFEST:
        return "datasets" in folders[2:3]
    return name == SPEC and "runs" in folders[2:3]


def datasets(guild: str) -> str:
    """Return the folder of a guild's datasets."""
    return f"guilds/{guild}/datasets"


def dataset(guild: str, name: str, number: int) -> str:
    """Return the folder of one version of a dataset."""
    return f"{datasets(guild)}/{name}/{number}"


def checked(guild: str) -> str:
    """Return the folder of uploads that were checked but not added yet."""
    return f"guilds/{guild}/checked"


def prepared(guild: str, version: str) -> str:
    """Return the folder of a repaired dataset, by content id."""
    return f"guilds/{guild}/prepared/{version}"


def caches(guild: str) -> str:
    """Return the folder of a guild's latent and text caches."""
    return f"guilds/{guild}/caches"


def cached(guild: str, kind: CacheKind, content: str) -> str:
    """Return a latent or text cache file, named by the hash of everything that determines it."""
    return f"{caches(guild)}/{kind}/{content[:2]}/{content}.safetensors"


def runs(guild: str) -> str:
    """Return the folder of a guild's runs."""
    return f"guilds/{guild}/runs"


@dataclass(frozen=True, slots=True)
class RunKeys:
    """The keys of one run."""

    guild: str
    name: str

    @property
    def folder(self) -> str:
        """The run's folder."""
        return f"{runs(self.guild)}/{self.name}"

    @property
    def spec(self) -> str:
        """What was asked for."""
        return f"{self.folder}/{SPEC}"

    @property
    def events(self) -> str:
        """The folder of the event files, one per writer and attempt."""
        return f"{self.folder}/events"

    @property
    def report(self) -> str:
        """The run's copy of its dataset's report; the dataset itself may be removed."""
        return f"{self.folder}/inputs/report.json"

    @property
    def ended(self) -> str:
        """The summary of the run, written when it ends."""
        return f"{self.folder}/ended"

    @property
    def marker(self) -> str:
        """The name of the run's markers."""
        return f"{self.guild}~{self.name}"

    @property
    def open(self) -> str:
        """The marker of a possibly open run: created before the run, deleted when it ends."""
        return f"{OPEN_RUNS}/{self.marker}"

    @property
    def unannounced(self) -> str:
        """The marker of a run whose end must still be announced; created before the run."""
        return f"{UNANNOUNCED}/{self.marker}"

    @property
    def dataset_config(self) -> str:
        """The dataset TOML."""
        return f"{self.folder}/inputs/dataset.toml"

    @property
    def caches(self) -> str:
        """The cache directories that the trainer reads."""
        return f"{self.folder}/inputs/caches"

    def progress(self, key: StageKey) -> str:
        """Return the latest progress of a stage; updates may be lost."""
        return f"{self.folder}/progress/{key}.json"

    def log_tail(self, key: StageKey) -> str:
        """Return the tail of a running stage's output."""
        return f"{self.folder}/progress/{key}.log"

    def metrics(self, key: StageKey, attempt: int) -> str:
        """Return the loss and learning rate of every step of an attempt."""
        return f"{self.folder}/metrics/{key}-{attempt}.jsonl"

    def log(self, key: StageKey, attempt: int) -> str:
        """Return the output of an attempt's programs."""
        return f"{self.folder}/logs/{key}-{attempt}.log"

    def receipt(self, key: StageKey) -> str:
        """Return the record of what a stage made, and from what."""
        return f"{self.folder}/receipts/{key}.json"

    def caching(self, kind: CacheKind) -> str:
        """Return the working folder for missing cache files."""
        return f"{self.folder}/caching/{kind}"

    def caching_config(self, kind: CacheKind) -> str:
        """Return the dataset TOML that lists only what is not cached yet."""
        return f"{self.caching(kind)}/dataset.toml"

    def checkpoints(self, expert: ExpertName) -> str:
        """Return the folder of an expert's checkpoints and training states."""
        return f"{self.folder}/checkpoints/{expert}"

    def merged_input(self, expert: ExpertName, base: WeightFile) -> str:
        """Return the link to the merged base that an expert's trainer reads.

        The merge's content address depends on hashes known only after both files are fetched;
        this key is known from the start, so that a plan can print the complete command.
        """
        stem = PurePosixPath(base.file).stem
        return f"{self.folder}/inputs/{expert}/{stem}-lightning.safetensors"

    def initial_weights(self, expert: ExpertName, sha256: str) -> str:
        """Return the run's copy of the LoRA file that an expert starts from."""
        return f"{self.folder}/inputs/{expert}/start-{sha256[:16]}.safetensors"


def notice(name: str) -> str:
    """Return a notice that is still to be posted."""
    return f"{NOTICES}/{name}.json"


def models(engine: str) -> str:
    """Return the folder of an engine's weights."""
    return f"models/{engine}"


def weight(engine: str, file: WeightFile) -> str:
    """Return a weight file."""
    revision = "" if file.revision == "main" else f"@{_one_part(file.revision)}"
    return f"{models(engine)}/{file.repo}{revision}/{file.file}"


def _one_part(revision: str) -> str:
    """Return `revision` as one path component; commits are shortened."""
    return revision[:12] if _COMMIT.fullmatch(revision) else revision.replace("/", "~")


def weight_receipt(engine: str, file: WeightFile) -> str:
    """Return the receipt of a fetched weight file: hash, size, revision."""
    return f"{weight(engine, file)}.receipt.json"


def hub_cache(engine: str) -> str:
    """Return the Hub cache that the trainer's libraries read."""
    return f"{models(engine)}/hub"


def merged(address: str, base: WeightFile) -> str:
    """Return a merged base model by its content address."""
    stem = PurePosixPath(base.file).stem
    return f"{MERGED}/{address}/{stem}-merged.safetensors"


def merged_receipt(address: str) -> str:
    """Return the receipt of a merge by its content address."""
    return f"{MERGED}/{address}/receipt.json"


def request(guild: str, token: str) -> str:
    """Return the file that maps a chat interaction to the run that it created."""
    return f"guilds/{guild}/requests/{token}.json"


def stored_checkpoints(guild: str) -> str:
    """Return the folder of a guild's uploaded LoRA files."""
    return f"guilds/{guild}/checkpoints"


def stored_checkpoint(guild: str, name: str) -> str:
    """Return the folder of one uploaded LoRA file."""
    return f"{stored_checkpoints(guild)}/{name}"
