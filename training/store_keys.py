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
TrashKind = Literal["datasets", "checkpoints", "runs"]
# "models" holds files that can be downloaded or made again, "datasets" holds uploads and files
# made from them, and "runs" holds the files of runs.
Area = Literal["models", "datasets", "runs"]

OPEN_RUNS = "open"  # one marker per open run, so that one listing finds all of them
GUILDS = "guilds"
MERGED = "merged"
MODELS = "models"
NOTICES = "bot/notices"
IMPORT_CARDS = "bot/imports"
DEPLOYMENT = "bot/deployment.json"  # settings remembered between deploys
UNANNOUNCED = "bot/unannounced"  # one marker per run whose end is not announced yet
LINES = ".jsonl"  # files with this suffix are append-only
ORIGINAL = "original.zip"
REPORT = "report.json"
MANIFEST = "manifest.json"
SPEC = "spec.json"
CAPTIONS = "captions.json"
THUMBNAILS = "thumbnails.json"
_COMMIT = re.compile(r"[0-9a-f]{40}")

_OF_GUILD: Mapping[str, Area] = MappingProxyType(
    {
        **dict.fromkeys(
            (
                *("datasets", "checked", "uploads", "caption-pages"),
                *("prepared", "caches", "checkpoints"),
            ),
            "datasets",
        ),
        **dict.fromkeys(("runs", "requests", "drafts", "trash", "used-run-names"), "runs"),
        "successors": "runs",
    }
)


def area(key: str) -> Area:
    """Return the area that a key belongs to; a store may keep each area on a separate volume.

    Raises:
        ValueError: Not a key of the store.
    """
    first, *rest = key.split("/")
    if first in (MODELS, MERGED):
        return "models"
    if first in ("bot", OPEN_RUNS):
        return "runs"
    if first == "guilds" and len(rest) > 1 and rest[1] in _OF_GUILD:
        return _OF_GUILD[rest[1]]
    raise ValueError(f"not a key of the store: {key!r}")


def is_written_once(key: str) -> bool:
    """Return whether the file at `key` is written once: no later file ever gets the same key."""
    *folders, name = key.split("/")
    if name == MANIFEST:
        return "datasets" in folders[2:3]
    return name == SPEC and "runs" in folders[2:3]


def datasets(guild: str) -> str:
    return f"guilds/{guild}/datasets"


def dataset(guild: str, name: str, number: int) -> str:
    return f"{datasets(guild)}/{name}/{number}"


def proposals(guild: str, name: str) -> str:
    """Return the key of the captions that are proposed for a dataset."""
    return f"{datasets(guild)}/{name}/proposals.json"


def checked(guild: str) -> str:
    """Return the folder of uploads that are checked but not stored yet."""
    return f"guilds/{guild}/checked"


def uploads(guild: str) -> str:
    """Return the folder of unfinished uploads, which users send through a link."""
    return f"guilds/{guild}/uploads"


def upload(guild: str, session: str) -> str:
    return f"{uploads(guild)}/{session}"


def caption_pages(guild: str) -> str:
    """Return the folder of the links to caption pages."""
    return f"guilds/{guild}/caption-pages"


def all_prepared(guild: str) -> str:
    return f"guilds/{guild}/prepared"


def prepared(guild: str, version: str) -> str:
    """Return the folder of a repaired dataset, by content id."""
    return f"{all_prepared(guild)}/{version}"


def caches(guild: str) -> str:
    return f"guilds/{guild}/caches"


def cached(guild: str, kind: CacheKind, content: str) -> str:
    """Return the key of a latent or text cache file; `content` is the hash of all its inputs."""
    return f"{caches(guild)}/{kind}/{content[:2]}/{content}.safetensors"


def runs(guild: str) -> str:
    return f"guilds/{guild}/runs"


@dataclass(frozen=True, slots=True)
class RunKeys:
    """The keys of one run."""

    guild: str
    name: str

    @classmethod
    def of_marker(cls, marker: str) -> "RunKeys":
        guild, _, name = marker.partition("~")
        return cls(guild, name)

    @property
    def folder(self) -> str:
        return f"{runs(self.guild)}/{self.name}"

    @property
    def spec(self) -> str:
        return f"{self.folder}/{SPEC}"

    @property
    def events(self) -> str:
        """Return the folder of the event files, one per writer and attempt."""
        return f"{self.folder}/events"

    @property
    def report(self) -> str:
        """Return the key of the run's own copy of its dataset's report; it outlives the dataset."""
        return f"{self.folder}/inputs/report.json"

    @property
    def links(self) -> str:
        """Return the key of the file that counts how often links to the run were revoked."""
        return f"{self.folder}/links.json"

    @property
    def ended(self) -> str:
        return f"{self.folder}/ended"

    @property
    def marker(self) -> str:
        return f"{self.guild}~{self.name}"

    @property
    def open(self) -> str:
        """Return the key of an open run's marker, created before the run and deleted at its end."""
        return f"{OPEN_RUNS}/{self.marker}"

    @property
    def unannounced(self) -> str:
        """Return the key of the marker that exists until the run's end is announced."""
        return f"{UNANNOUNCED}/{self.marker}"

    @property
    def dataset_config(self) -> str:
        return f"{self.folder}/inputs/dataset.toml"

    @property
    def caches(self) -> str:
        return f"{self.folder}/inputs/caches"

    def progress(self, key: StageKey) -> str:
        """Return the key of a stage's latest progress; updates may be lost."""
        return f"{self.folder}/progress/{key}.json"

    @property
    def requests(self) -> str:
        """Return the key of the users' requests to the run's trainers; updates may be lost."""
        return f"{self.folder}/progress/requests.json"

    def log_tail(self, key: StageKey) -> str:
        """Return the key of the last lines that a running stage has printed."""
        return f"{self.folder}/progress/{key}.log"

    def metrics(self, key: StageKey, attempt: int) -> str:
        """Return the key of an attempt's metrics: loss and learning rate of every step."""
        return f"{self.folder}/metrics/{key}-{attempt}.jsonl"

    def log(self, key: StageKey, attempt: int) -> str:
        return f"{self.folder}/logs/{key}-{attempt}.log"

    def receipt(self, key: StageKey) -> str:
        """Return the key of a stage's receipt, which records its inputs and results."""
        return f"{self.folder}/receipts/{key}.json"

    def caching(self, kind: CacheKind) -> str:
        """Return the folder in which missing cache files are made."""
        return f"{self.folder}/caching/{kind}"

    def caching_config(self, kind: CacheKind) -> str:
        """Return the key of the dataset TOML that lists only samples that are not cached yet."""
        return f"{self.caching(kind)}/dataset.toml"

    def checkpoints(self, expert: ExpertName) -> str:
        return f"{self.folder}/checkpoints/{expert}"

    def merged_input(self, expert: ExpertName, base: WeightFile) -> str:
        """Return the key of the link through which an expert's trainer reads the merged base.

        The merged base's own key contains hashes that are known only after its two input files are
        fetched. This key is known from the start, so that a plan can show the complete command.
        """
        stem = PurePosixPath(base.file).stem
        return f"{self.folder}/inputs/{expert}/{stem}-lightning.safetensors"

    def initial_weights(self, expert: ExpertName, sha256: str) -> str:
        return f"{self.folder}/inputs/{expert}/start-{sha256[:16]}.safetensors"


def import_card(session: str) -> str:
    """Return the key of the record of the message that shows a running import."""
    return f"{IMPORT_CARDS}/{session}.json"


def notice(name: str) -> str:
    """Return the key of a notice that has not been posted yet."""
    return f"{NOTICES}/{name}.json"


def models(engine: str) -> str:
    return f"{MODELS}/{engine}"


def weight(engine: str, file: WeightFile) -> str:
    revision = "" if file.revision == "main" else f"@{_one_part(file.revision)}"
    return f"{models(engine)}/{file.repo}{revision}/{file.file}"


def _one_part(revision: str) -> str:
    """Return `revision` as one path component; commits are shortened."""
    return revision[:12] if _COMMIT.fullmatch(revision) else revision.replace("/", "~")


def weight_receipt(engine: str, file: WeightFile) -> str:
    """Return the key of a fetched weight file's receipt: hash, size, revision."""
    return f"{weight(engine, file)}.receipt.json"


def hub_cache(engine: str) -> str:
    """Return the folder of the Hub cache that the trainer's libraries read."""
    return f"{models(engine)}/hub"


def compiled(engine: str) -> str:
    """Return the folder of compiled graphs and kernels, one file per GPU and software version."""
    return f"{models(engine)}/compiled"


def merged(address: str, base: WeightFile) -> str:
    stem = PurePosixPath(base.file).stem
    return f"{MERGED}/{address}/{stem}-merged.safetensors"


def merged_receipt(address: str) -> str:
    return f"{MERGED}/{address}/receipt.json"


def request(guild: str, token: str) -> str:
    """Return the key that records which run a request created."""
    return f"guilds/{guild}/requests/{token}.json"


def drafts(guild: str) -> str:
    """Return the folder of requests whose plans wait for an answer, each named by its token."""
    return f"guilds/{guild}/drafts"


def loras(guild: str) -> str:
    """Return the folder of uploaded LoRA files, which users know as checkpoints."""
    return f"guilds/{guild}/checkpoints"


def lora(guild: str, name: str) -> str:
    return f"{loras(guild)}/{name}"


def settings_of(guild: str) -> str:
    """Return the folder of a server's settings, one file per change."""
    return f"bot/settings/{guild}"


def server_settings(guild: str, number: int) -> str:
    return f"{settings_of(guild)}/{number:06}.json"


def hub_token(guild: str) -> str:
    """Return the key of a server's token for the Hugging Face Hub."""
    return f"bot/hub-tokens/{guild}"


def trash(guild: str, kind: TrashKind) -> str:
    """Return the folder of removals that can be undone; each removal is a folder in it."""
    return f"guilds/{guild}/trash/{kind}"


def removal(guild: str, kind: TrashKind, removal_id: str) -> str:
    """Return the folder of one removal; it holds a file for each removed item."""
    return f"{trash(guild, kind)}/{removal_id}"


def successor(guild: str, name: str) -> str:
    """Return the key of the record that names the run's successor."""
    return f"guilds/{guild}/successors/{name}"


def used_run_name(guild: str, name: str) -> str:
    """Return the key of the file that keeps a deleted run's name from being used again."""
    return f"guilds/{guild}/used-run-names/{name}"
