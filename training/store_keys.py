"""Where everything lies in the store: the one place that knows the folders' names."""

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Literal

from training.catalogue.models import WeightFile
from training.vocabulary import ExpertName, StageKey

CacheKind = Literal["latents", "texts"]
# What can be made again, what people brought and is derived from it, and what trainings left.
Area = Literal["models", "datasets", "runs"]

OPEN_RUNS = "open"  # one marker a run, so that finding the open ones costs one listing
GUILDS = "guilds"
MERGED = "merged"
NOTICES = "bot/notices"
DEPLOYMENT = "bot/deployment.json"  # what the deployment on Modal was told
UNTOLD = "bot/untold"  # one marker a run whose end people are to be told
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
    """Return the part of the store that a key belongs to, where the parts are stored apart.

    Raises:
        ValueError: Nothing is stored under such a key.
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
    """Return whether a file never changes, and another never gets its name after its removal."""
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
    """Return the folder of uploads that were only checked and wait to be used."""
    return f"guilds/{guild}/checked"


def prepared(guild: str, version: str) -> str:
    """Return the folder of a repaired dataset, by content id."""
    return f"guilds/{guild}/prepared/{version}"


def caches(guild: str) -> str:
    """Return the folder of a guild's latent and text caches."""
    return f"guilds/{guild}/caches"


def cached(guild: str, kind: CacheKind, content: str) -> str:
    """Return one latent or text cache file, by the hash of all that decides its content."""
    return f"{caches(guild)}/{kind}/{content[:2]}/{content}.safetensors"


def runs(guild: str) -> str:
    """Return the folder of a guild's runs."""
    return f"guilds/{guild}/runs"


def run(guild: str, name: str) -> str:
    """Return the folder of one run."""
    return f"{runs(guild)}/{name}"


def spec(guild: str, name: str) -> str:
    """Return the file that says what was asked for."""
    return f"{run(guild, name)}/{SPEC}"


def events(guild: str, name: str) -> str:
    """Return the folder of a run's event files, one per writer and attempt."""
    return f"{run(guild, name)}/events"


def run_report(guild: str, name: str) -> str:
    """Return the run's own copy of its dataset's report; the dataset may be removed later."""
    return f"{run(guild, name)}/inputs/report.json"


def ended(guild: str, name: str) -> str:
    """Return the marker of a run that has ended, with its summary."""
    return f"{run(guild, name)}/ended"


def open_run(guild: str, name: str) -> str:
    """Return the marker of a run that may be open: it is made before the run, and goes with it."""
    return f"{OPEN_RUNS}/{open_marker(guild, name)}"


def open_marker(guild: str, name: str) -> str:
    """Return the name of that marker."""
    return f"{guild}~{name}"


def untold(guild: str, name: str) -> str:
    """Return the marker of a run whose end is to be told: made before it, removed afterwards."""
    return f"{UNTOLD}/{open_marker(guild, name)}"


def notice(name: str) -> str:
    """Return one thing that people are to be told."""
    return f"{NOTICES}/{name}.json"


def progress(guild: str, name: str, key: StageKey) -> str:
    """Return the file with the newest, lossy progress of a stage."""
    return f"{run(guild, name)}/progress/{key}.json"


def log_tail(guild: str, name: str, key: StageKey) -> str:
    """Return the end of what the programs of a stage at work have printed by now."""
    return f"{run(guild, name)}/progress/{key}.log"


def metrics(guild: str, name: str, key: StageKey, attempt: int) -> str:
    """Return the file with loss and learning rate of every step of one attempt."""
    return f"{run(guild, name)}/metrics/{key}-{attempt}.jsonl"


def log(guild: str, name: str, key: StageKey, attempt: int) -> str:
    """Return the file with what the programs of one attempt printed."""
    return f"{run(guild, name)}/logs/{key}-{attempt}.log"


def dataset_config(guild: str, name: str) -> str:
    """Return the run's dataset TOML."""
    return f"{run(guild, name)}/inputs/dataset.toml"


def run_caches(guild: str, name: str) -> str:
    """Return the folder of the cache directories that the run's trainer reads."""
    return f"{run(guild, name)}/inputs/caches"


def caching(guild: str, name: str, kind: CacheKind) -> str:
    """Return the folder in which a run's missing cache files are made."""
    return f"{run(guild, name)}/caching/{kind}"


def caching_config(guild: str, name: str, kind: CacheKind) -> str:
    """Return the dataset TOML of what is missing, for one of the cache scripts."""
    return f"{caching(guild, name, kind)}/dataset.toml"


def checkpoints(guild: str, name: str, expert: ExpertName) -> str:
    """Return the folder that one expert's checkpoints and training states are saved to."""
    return f"{run(guild, name)}/checkpoints/{expert}"


def receipt(guild: str, name: str, key: StageKey) -> str:
    """Return the file that says what a stage made, from what."""
    return f"{run(guild, name)}/receipts/{key}.json"


def models(engine: str) -> str:
    """Return the folder of all weights of an engine; a rehearsal's stand-ins have their own."""
    return f"models/{engine}"


def weight(engine: str, file: WeightFile) -> str:
    """Return where a weight file is kept."""
    revision = "" if file.revision == "main" else f"@{_one_part(file.revision)}"
    return f"{models(engine)}/{file.repo}{revision}/{file.file}"


def _one_part(revision: str) -> str:
    """Return a commit by its first digits, and a branch or tag in full: both name one file only."""
    return revision[:12] if _COMMIT.fullmatch(revision) else revision.replace("/", "~")


def weight_receipt(engine: str, file: WeightFile) -> str:
    """Return the file with hash, size and revision of a fetched weight file."""
    return f"{weight(engine, file)}.receipt.json"


def hub_cache(engine: str) -> str:
    """Return the folder in which the trainer's own libraries look for files of the Hub."""
    return f"{models(engine)}/hub"


def merged(address: str, base: WeightFile) -> str:
    """Return the merged base with the content address `address`."""
    stem = PurePosixPath(base.file).stem
    return f"{MERGED}/{address}/{stem}-merged.safetensors"


def merged_receipt(address: str) -> str:
    """Return the proof of the merge with the content address `address`."""
    return f"{MERGED}/{address}/receipt.json"


def merged_input(guild: str, name: str, expert: ExpertName, base: WeightFile) -> str:
    """Return the name under which a run's trainer finds its merged base.

    The address depends on hashes that are known only once both files are fetched; this name is
    known from the start, so that a plan can print the trainer's complete command.
    """
    stem = PurePosixPath(base.file).stem
    return f"{run(guild, name)}/inputs/{expert}/{stem}-lightning.safetensors"


def request(guild: str, token: str) -> str:
    """Return the file that ties a chat interaction to the run it made."""
    return f"guilds/{guild}/requests/{token}.json"


def stored_checkpoints(guild: str) -> str:
    """Return the folder of the LoRA files that a guild can start trainings from."""
    return f"guilds/{guild}/checkpoints"


def stored_checkpoint(guild: str, name: str) -> str:
    """Return the folder of one LoRA file that trainings can start from."""
    return f"{stored_checkpoints(guild)}/{name}"


def starting_file(guild: str, name: str, expert: ExpertName, sha256: str) -> str:
    """Return the run's own copy of the LoRA file that one expert starts from."""
    return f"{run(guild, name)}/inputs/{expert}/start-{sha256[:16]}.safetensors"
