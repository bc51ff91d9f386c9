"""What each deployed Function asks of Modal: every figure of the deployment, in one table.

The client checks none of Modal's limits; a test holds this table against them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from training.catalogue.gpus import GPUS
from training.catalogue.models import Model
from training.store_keys import Area
from training.vocabulary import StageName

MINUTES = 60  # seconds
HOURS = 60 * MINUTES

# Modal's limits, from its guides as of 2026: seconds of one attempt, retries, cores, GiB.
LONGEST_TIMEOUT = 24 * HOURS
MOST_RETRIES = 10
MOST_CPU = 64.0
MOST_MEMORY_GIB = 336
KNOWN_GPUS = frozenset(GPUS)

# From a container's place on a machine to its first line of Python; else it is the timeout's.
STARTUP_SECONDS = 15 * MINUTES

# Before Modal ends a training, it saves its state by itself, and the next attempt goes on.
SOFT_DEADLINE_SECONDS = 23.5 * HOURS

FunctionName = Literal[
    "advance", "tick", "clean_up", "prepare", "fetch", "merge", "publish", "cache", "train",
    "cache_small", "train_small", "watch",
]  # fmt: skip

# The first is the default; Modal takes the next one when there is none of it.
LARGE_GPUS = ("H100", "H200", "A100-80GB")
SMALL_GPUS = ("A10", "L4", "L40S")


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """The figures of one Function.

    Attributes:
        gpu: Cards in the order in which they are tried; none for a Function on CPUs.
        cpu: Physical cores.
        memory_gib: GiB of main memory.
        timeout_seconds: The longest that one call may take.
        retries: How often Modal itself repeats a call that failed: never for a stage, whose next
            attempt is this project's own.
        idle_seconds: How long a container waits for another call, and is paid for; with 0 it ends
            with its call.
        cron: When it is called by itself, in UTC.
        areas: The Volumes that it has mounted.
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
    """The figures of the bot's server; it has no time limit.

    Attributes:
        cpu: Physical cores that it is promised; it may use more while nobody else does.
        memory_gib: GiB of main memory that it is promised.
        port: Where its web side listens.
        startup_seconds: The longest time until it is connected to Discord.
        grace_seconds: How long it may serve on after another copy has taken over.
    """

    cpu: float
    memory_gib: float
    port: int
    startup_seconds: int
    grace_seconds: int


BOT = ServerResources(cpu=0.25, memory_gib=1, port=8000, startup_seconds=120, grace_seconds=5)

ALL: tuple[Area, ...] = ("models", "datasets", "runs")

FUNCTIONS: Mapping[FunctionName, Resources] = MappingProxyType(
    {
        # Of a run's stages, some end within seconds of each other.
        "advance": Resources(
            cpu=0.25, memory_gib=0.5, timeout_seconds=5 * MINUTES, idle_seconds=20
        ),
        # Each minute: a container that waited for the next call would never end.
        "tick": Resources(cpu=0.25, memory_gib=0.5, timeout_seconds=5 * MINUTES, cron="* * * * *"),
        "watch": Resources(
            cpu=0.125, memory_gib=0.5, timeout_seconds=2 * MINUTES, cron="*/5 * * * *"
        ),
        "clean_up": Resources(cpu=0.25, memory_gib=0.5, timeout_seconds=HOURS, cron="17 3 * * *"),
        "prepare": Resources(cpu=4, memory_gib=8, timeout_seconds=4 * HOURS, areas=ALL),
        "fetch": Resources(cpu=2, memory_gib=4, timeout_seconds=6 * HOURS, areas=ALL),
        # The merge takes under 2 GiB; the rest is the page cache of what it reads and writes.
        "merge": Resources(cpu=8, memory_gib=16, timeout_seconds=2 * HOURS, areas=ALL),
        "publish": Resources(cpu=1, memory_gib=2, timeout_seconds=2 * HOURS, areas=ALL),
        "cache": Resources(
            gpu=LARGE_GPUS, cpu=4, memory_gib=32, timeout_seconds=12 * HOURS, areas=ALL
        ),
        "train": Resources(
            gpu=LARGE_GPUS, cpu=4, memory_gib=48, timeout_seconds=LONGEST_TIMEOUT, areas=ALL
        ),
        "cache_small": Resources(
            gpu=SMALL_GPUS, cpu=4, memory_gib=24, timeout_seconds=12 * HOURS, areas=ALL
        ),
        "train_small": Resources(
            gpu=SMALL_GPUS, cpu=4, memory_gib=24, timeout_seconds=LONGEST_TIMEOUT, areas=ALL
        ),
    }
)


# Those of the bot's app; the others are of the stages'.
BOT_FUNCTIONS: frozenset[FunctionName] = frozenset({"watch"})


def function_of(stage: StageName, model: Model) -> FunctionName:
    """Return the Function that runs a stage of a model."""
    if stage == "cache":
        return "cache" if model.gpu in LARGE_GPUS else "cache_small"
    if stage == "train":
        return "train" if model.gpu in LARGE_GPUS else "train_small"
    return stage
