"""Prints lines and progress bars that look like musubi-tuner's."""

import sys
import time
from dataclasses import dataclass, field

BANNER = (
    "rehearsal: a tiny model on the CPU replaces Wan; "
    "the resulting LoRA only tests the pipeline and cannot make videos"
)

_BAR_WIDTH = 10
_REFRESH_SECONDS = 0.1


def say(line: str) -> None:
    """Print a line and flush it, so that a reader of the pipe sees it at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


@dataclass
class StepBar:
    """Progress bar of optimizer steps on stderr, updated at most ten times a second."""

    total: int
    done: int
    _started: float = field(default_factory=time.monotonic)
    _shown: float = 0.0
    _first: int = 0

    def __post_init__(self) -> None:
        self._first = self.done
        self._write("")

    def advance(self, done: int, average_loss: float) -> None:
        """Show that `done` steps are finished; the last step is always shown."""
        self.done = done
        now = time.monotonic()
        if done < self.total and now - self._shown < _REFRESH_SECONDS:
            return
        self._shown = now
        self._write(f", avr_loss={average_loss:.3g}")

    def close(self) -> None:
        sys.stderr.write("\n")
        sys.stderr.flush()

    def _write(self, postfix: str) -> None:
        elapsed = time.monotonic() - self._started
        taken = self.done - self._first
        rate = taken / elapsed if taken and elapsed > 0 else 0.0
        left = _clock((self.total - self.done) / rate) if rate else "?"
        share = self.done / max(self.total, 1)
        filled = "█" * int(share * _BAR_WIDTH)
        speed = f"{rate:.2f}it/s" if rate >= 1 or not rate else f"{1 / rate:.2f}s/it"
        sys.stderr.write(
            f"\rsteps: {share:4.0%}|{filled:<{_BAR_WIDTH}}| {self.done}/{self.total} "
            f"[{_clock(elapsed)}<{left}, {speed if rate else '?it/s'}{postfix}]"
        )
        sys.stderr.flush()


def show_items(done: int) -> None:
    """Show how many samples are cached, such as `12it`. Like musubi's scripts, omit the total."""
    sys.stderr.write(f"\r{done}it")
    sys.stderr.flush()


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes:02d}:{rest:02d}"
