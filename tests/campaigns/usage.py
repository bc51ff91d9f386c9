"""What a bot takes of its machine while it serves: memory, open files, threads."""

import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field

import psutil

from tests.campaigns.operated import OperatedBot

_WARM_SECONDS = 60.0
_MOST_BYTES = 1 << 30  # what a deployed bot has
_MIB = 1 << 20


@dataclass(frozen=True)
class Taken:
    """What one life of the bot took at one moment."""

    life: int
    age_seconds: float
    memory_bytes: int
    files: int
    threads: int

    def __str__(self) -> str:
        return f"{self.memory_bytes / _MIB:.0f} MiB, {self.files} files, {self.threads} threads"


@dataclass
class Usage:
    """What all lives of a bot took."""

    noted: list[Taken] = field(default_factory=list[Taken])

    def note(self, bot: OperatedBot) -> None:
        """Look at the bot, unless it is down."""
        with suppress(psutil.Error):
            if bot.process is None:
                return
            process = psutil.Process(bot.process.pid)
            age_seconds = time.monotonic() - bot.served_since
            taken = process.memory_info().rss, process.num_fds(), process.num_threads()
            self.noted.append(Taken(bot.starts, age_seconds, *taken))

    def newest(self) -> str:
        return str(self.noted[-1]) if self.noted else "not looked at yet"

    def wrong(self) -> list[str]:
        most = max((one.memory_bytes for one in self.noted), default=0)
        return [f"the bot took {most / _MIB:.0f} MiB"] if most > _MOST_BYTES else []

    def growth(self) -> list[str]:
        """Return what the longest life of the bot took when it was warm, and at its end."""
        warm = [one for one in self.noted if one.age_seconds > _WARM_SECONDS]
        if not warm:
            return []
        ((life, _),) = Counter(one.life for one in warm).most_common(1)
        of_life = [one for one in warm if one.life == life]
        most = Taken(
            0,
            0.0,
            max(one.memory_bytes for one in warm),
            max(one.files for one in warm),
            max(one.threads for one in warm),
        )
        minutes = of_life[-1].age_seconds / 60
        return [
            f"longest life of the bot, {minutes:.0f} min: {of_life[0]}, at its end {of_life[-1]}",
            f"most in any life: {most}",
        ]
