"""Resources of every deployed Function, in one table.

Modal's client does not check Modal's limits, so a test compares this table with them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from training.catalogue.gpus import FALLBACKS
from training.catalogue.models import Model
from training.estimates.machine_requests import (
    CACHE_REQUEST,
    FETCH_REQUEST,
    MERGE_REQUEST,
    PREPARE_REQUEST,
    PUBLISH_REQUEST,
    TRAIN_REQUEST,
    MachineRequest,
)
from training.store_keys import Area
from training.vocabulary import StageName

MINUTES = 60  # seconds
HOURS = 60 * MINUTES

LONGEST_TIMEOUT = 24 * HOURS  # Modal's limit for one attempt, according to its guides of 2026

# The longest that a container may take to reach its first line of Python, once it has a machine.
STARTUP_SECONDS = 15 * MINUTES

# Shortly before Modal's limit of 24 hours, training saves its state; the next attempt resumes.
SOFT_DEADLINE_SECONDS = 23.5 * HOURS

FunctionName = Literal[
    "advance", "tick", "clean_up", "prepare", "fetch", "merge", "publish", "cache", "train",
    "cache_small", "train_small", "cache_chosen", "train_chosen", "watch",
]  # fmt: skip

# GPUs in order of preference: Modal takes the next if one is not available.
LARGE_GPUS = ("H100", *FALLBACKS["H100"])
SMALL_GPUS = ("A10", *FALLBACKS["A10"])
# Modal may give an H200 to a request for an H100, at an H100's price, unless the name ends in "!".
EXACTLY_H100 = ("H100!",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """Resources of one Function.

    Attributes:
        gpu: GPUs in order of preference; empty for a CPU Function.
        cpu: Physical cores.
        memory_gib: Main memory in GiB.
        timeout_seconds: The longest that one call may take.
        retries: How many times Modal repeats a failed call; 0 for a stage, because `advance` starts
            its next attempt.
        idle_seconds: How long a container waits for another call, billed all the while; 0 ends
            it after one call.
        cron: Schedule in UTC.
        areas: The Volumes that are mounted.
    """

    gpu: tuple[str, ...] = ()
    cpu: float
    memory_gib: float
    timeout_seconds: int
    retries: int = 0
    idle_seconds: int = 0
    cron: str | None = None
    areas: tuple[Area, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerResources:
    """Resources of the bot's server, which has no time limit.

    Attributes:
        cpu: Guaranteed physical cores; the server may use more if the machine has idle ones.
        memory_gib: Guaranteed main memory in GiB.
        port: Port of its web server.
        startup_seconds: The longest time until it is connected to Discord.
        grace_seconds: How long it may keep serving after another copy has taken over.
        areas: The Volumes that are mounted read-only.
    """

    cpu: float
    memory_gib: float
    port: int
    startup_seconds: int
    grace_seconds: int
    areas: tuple[Area, ...]


# `startup_seconds` is long because the first start pulls the image, which takes minutes. The bot
# sends checkpoints from the mounted Volume of runs.
BOT = ServerResources(
    cpu=0.25, memory_gib=1, port=8000, startup_seconds=300, grace_seconds=5, areas=("runs",)
)

INPUTS: tuple[Area, ...] = ("models", "datasets")
ALL: tuple[Area, ...] = (*INPUTS, "runs")


def _for(
    request: MachineRequest,
    gpu: tuple[str, ...] = (),
    *,
    areas: tuple[Area, ...] = ALL,
    timeout_seconds: int,
) -> Resources:
    return Resources(
        gpu=gpu,
        cpu=request.cores,
        memory_gib=request.memory_gib,
        timeout_seconds=timeout_seconds,
        areas=areas,
    )


FUNCTIONS: Mapping[FunctionName, Resources] = MappingProxyType(
    {
        # This container waits 20 s for another call, because several stages of a run may end within
        # seconds of each other.
        "advance": Resources(
            cpu=0.25, memory_gib=0.5, timeout_seconds=5 * MINUTES, idle_seconds=20
        ),
        # This Function runs every minute, so a container that waited for the next call would never
        # end. A Starter workspace allows five schedules; one is enough, because the tick starts
        # other Functions.
        "tick": Resources(cpu=0.25, memory_gib=0.5, timeout_seconds=5 * MINUTES, cron="* * * * *"),
        "watch": Resources(cpu=0.125, memory_gib=0.5, timeout_seconds=2 * MINUTES),
        "clean_up": Resources(cpu=0.25, memory_gib=0.5, timeout_seconds=HOURS, areas=ALL),
        # Mount only the Volumes needed, because Modal commits every mount when a container ends.
        "prepare": _for(PREPARE_REQUEST, areas=("datasets",), timeout_seconds=4 * HOURS),
        "fetch": _for(FETCH_REQUEST, areas=("models",), timeout_seconds=6 * HOURS),
        "merge": _for(MERGE_REQUEST, areas=("models",), timeout_seconds=2 * HOURS),
        # This Function downloads the checkpoints instead of mounting their Volume.
        "publish": _for(PUBLISH_REQUEST, areas=(), timeout_seconds=2 * HOURS),
        "cache": _for(CACHE_REQUEST, LARGE_GPUS, areas=INPUTS, timeout_seconds=12 * HOURS),
        "train": _for(TRAIN_REQUEST, LARGE_GPUS, timeout_seconds=LONGEST_TIMEOUT),
        "cache_small": _for(CACHE_REQUEST, SMALL_GPUS, areas=INPUTS, timeout_seconds=12 * HOURS),
        "train_small": _for(TRAIN_REQUEST, SMALL_GPUS, timeout_seconds=LONGEST_TIMEOUT),
        # These Functions are for runs that choose a GPU or need more memory than usual. Each call
        # overrides their GPU or memory. They have a single GPU, because Modal does not document how
        # to override a list of GPUs.
        "cache_chosen": _for(CACHE_REQUEST, EXACTLY_H100, areas=INPUTS, timeout_seconds=12 * HOURS),
        "train_chosen": _for(TRAIN_REQUEST, EXACTLY_H100, timeout_seconds=LONGEST_TIMEOUT),
    }
)


# Functions of the bot's app; all others belong to the stages' app.
BOT_FUNCTIONS: frozenset[FunctionName] = frozenset({"watch"})


def function_of(stage: StageName, model: Model, *, is_chosen: bool = False) -> FunctionName:
    """Return a stage's Function; `is_chosen` says whether the call sets its own GPU or memory."""
    is_large = model.gpu in LARGE_GPUS
    match stage:
        case "cache":
            return "cache_chosen" if is_chosen else "cache" if is_large else "cache_small"
        case "train":
            return "train_chosen" if is_chosen else "train" if is_large else "train_small"
        case "prepare" | "fetch" | "merge" | "publish":
            return stage


def exactly(gpu: str) -> str:
    """Return the name, such as `H100!`, that makes Modal give this GPU and no substitute."""
    return f"{gpu}!" if f"{gpu}!" in EXACTLY_H100 else gpu
