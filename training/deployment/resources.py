"""Resources of every deployed Function, in one table.

The client does not check Modal's limits; a test compares this table with them.
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

# From a container's placement to its first line of Python; by default the timeout covers it.
STARTUP_SECONDS = 15 * MINUTES

# A training saves its state before Modal ends it, and the next attempt resumes.
SOFT_DEADLINE_SECONDS = 23.5 * HOURS

FunctionName = Literal[
    "advance", "tick", "clean_up", "prepare", "fetch", "merge", "publish", "cache", "train",
    "cache_small", "train_small", "watch",
]  # fmt: skip

# In order of preference; Modal takes the next one if the first is not available.
LARGE_GPUS = ("H100", "H200", "A100-80GB")
SMALL_GPUS = ("A10", "L4", "L40S")


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """Resources of one Function.

    Attributes:
        gpu: GPUs in order of preference; empty for a CPU Function.
        cpu: Physical cores.
        memory_gib: Main memory in GiB.
        timeout_seconds: The longest that one call may take.
        retries: How often Modal repeats a failed call. Never for a stage: its next attempt is
            started by this project.
        idle_seconds: How long a container waits, and is billed, for another call; with 0 it ends
            after one call.
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
        cpu: Guaranteed physical cores; it may use more while they are idle.
        memory_gib: Guaranteed main memory in GiB.
        port: Port of its web server.
        startup_seconds: The longest time until it is connected to Discord.
        grace_seconds: How long it may keep serving after another copy has taken over.
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
        # Several stages of a run may end within seconds of each other.
        "advance": Resources(
            cpu=0.25, memory_gib=0.5, timeout_seconds=5 * MINUTES, idle_seconds=20
        ),
        # Every minute: with an idle time the container would never end.
        "tick": Resources(cpu=0.25, memory_gib=0.5, timeout_seconds=5 * MINUTES, cron="* * * * *"),
        "watch": Resources(
            cpu=0.125, memory_gib=0.5, timeout_seconds=2 * MINUTES, cron="*/5 * * * *"
        ),
        "clean_up": Resources(cpu=0.25, memory_gib=0.5, timeout_seconds=HOURS, cron="17 3 * * *"),
        "prepare": Resources(cpu=4, memory_gib=8, timeout_seconds=4 * HOURS, areas=ALL),
        "fetch": Resources(cpu=2, memory_gib=4, timeout_seconds=6 * HOURS, areas=ALL),
        # The merge needs under 2 GiB; the rest is page cache for what it reads and writes.
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


# Functions of the bot's app; all others belong to the stages' app.
BOT_FUNCTIONS: frozenset[FunctionName] = frozenset({"watch"})


def function_of(stage: StageName, model: Model) -> FunctionName:
    """Return the Function that runs a stage of a model."""
    if stage == "cache":
        return "cache" if model.gpu in LARGE_GPUS else "cache_small"
    if stage == "train":
        return "train" if model.gpu in LARGE_GPUS else "train_small"
    return stage
