"""What the records of musubi-tuner's plain output mean, one after the other.

Only the English part of a line counts. Source of the forms: 133 logs of v0.3.4 in
`tests/data/musubi-logs`.
"""

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from training.musubi.progress import (
    CacheProgress,
    CheckpointSaved,
    EpochEnded,
    ProgressEvent,
    StateSaved,
    StepDone,
    TrainingStarted,
)

_STEP = re.compile(
    r"steps: .*\| *(?P<step>\d+)/(?P<total>\d+) "
    r"\[[^,]*, *(?P<rate>[\d.?]+)(?P<unit>it/s|s/it), avr_loss=(?P<loss>[\w.+-]+)\]"
)
_ITEMS = re.compile(r"(?P<done>\d+)it \[")
_SAVED = re.compile(r"(?P<name>.*?)(?:-(?P<epoch>\d{6})|-step(?P<step>\d{8}))?")


class PlainRecords:
    """Follows one training or caching.

    A step is told once its bar is drawn for the last time, that is with its own average loss: at
    the second drawing, or when something else follows.
    """

    def __init__(self, expected_items: int) -> None:
        self._expected_items = expected_items
        self._cached = _Cached()
        self._batches, self._accumulation, self._epochs = 0, 1, 0
        self._total_steps = self._steps_per_epoch = 0
        self._epoch = self._ended_epoch = self._step = 0
        self._drawn: StepDone | None = None
        self._writing: CheckpointSaved | None = None
        self._meanings = tuple(
            (re.compile(pattern), meaning)
            for pattern, meaning in (
                (r"Traceback \(most recent call last\)", self._fails),
                (r"saving checkpoint: (.+)", self._starts_checkpoint),
                (r"Random states saved in (.+)/random_states_\d+\.pkl", self._saved_state),
                (r"\bepoch (\d+)/\d+$", self._starts_epoch),
                (r"Encoding dataset \[\d+\]", self._starts_dataset),
                (r"num batches per epoch /.*: (\d+)$", self._tells_batches),
                (r"num epochs /.*: (\d+)$", self._tells_epochs),
                (r"gradient accumulation steps /.*= (\d+)$", self._tells_accumulation),
                (r"total optimization steps /.*: (\d+)$", self._starts),
                (r"saving state at (epoch|step) (\d+)", self._starts_state),
                (r"model saved\.|removing old checkpoint", self._goes_on),
            )
        )

    def take(self, text: str) -> Iterator[ProgressEvent]:
        """Yield what one record, without its line end, tells."""
        if not text:
            return
        if bar := _STEP.search(text):
            yield from self._step_bar(bar)
            return
        if self._cached.is_on and (items := _ITEMS.search(text)):
            yield from self._items_bar(int(items["done"]))
            return
        yield from self._drawn_step()
        for pattern, meaning in self._meanings:
            if match := pattern.search(text):
                yield from meaning(match)
                return

    def close(self) -> Iterator[ProgressEvent]:
        """Yield what is known now that nothing more will come."""
        yield from self._drawn_step()

    def _step_bar(self, bar: re.Match[str]) -> Iterator[ProgressEvent]:
        step, rate = int(bar["step"]), bar["rate"]
        if self._writing is not None and step > self._writing.step:
            yield from self._checkpoint_is_complete()
        if step <= self._step:
            return
        is_second = self._drawn is not None and self._drawn.step == step
        if not is_second:
            yield from self._drawn_step()
        # The first step is left out of the bar's clock, whose rate then means nothing.
        per_second = float(rate) if rate[0].isdigit() and step > 1 else 0.0
        seconds = per_second if bar["unit"] == "s/it" else 1 / per_second if per_second else 0.0
        self._drawn = StepDone(
            step=step,
            total_steps=int(bar["total"]),
            epoch=-(-step // self._steps_per_epoch) if self._steps_per_epoch else self._epoch,
            loss=None,
            average_loss=float(bar["loss"]),
            learning_rate=None,
            seconds_per_step=seconds or None,
        )
        if is_second:
            yield from self._drawn_step()

    def _drawn_step(self) -> Iterator[ProgressEvent]:
        if self._drawn is None:
            return
        done, self._drawn = self._drawn, None
        self._step = done.step
        yield done
        is_last = done.step == done.total_steps
        if self._steps_per_epoch and (is_last or done.step % self._steps_per_epoch == 0):
            yield from self._epoch_is_over(done.epoch, done.step)

    def _epoch_is_over(self, epoch: int, step: int) -> Iterator[ProgressEvent]:
        if epoch > self._ended_epoch:
            self._ended_epoch = epoch
            yield EpochEnded(epoch=epoch, step=step)

    def _items_bar(self, done: int) -> Iterator[ProgressEvent]:
        if self._cached.count(done):
            yield CacheProgress(done=self._cached.done, total=self._expected_items)

    def _starts_dataset(self, _match: re.Match[str]) -> Iterator[ProgressEvent]:
        self._cached.next_dataset()
        yield from ()

    def _tells_batches(self, match: re.Match[str]) -> Iterator[ProgressEvent]:
        self._batches = int(match[1])
        yield from ()

    def _tells_epochs(self, match: re.Match[str]) -> Iterator[ProgressEvent]:
        self._epochs = int(match[1])
        yield from ()

    def _tells_accumulation(self, match: re.Match[str]) -> Iterator[ProgressEvent]:
        self._accumulation = int(match[1])
        yield from ()

    def _starts(self, match: re.Match[str]) -> Iterator[ProgressEvent]:
        self._total_steps = int(match[1])
        # The last batches of an epoch are a step even when they are fewer than the others'.
        self._steps_per_epoch = -(-self._batches // max(self._accumulation, 1))
        yield TrainingStarted(
            step=0,
            total_steps=self._total_steps,
            steps_per_epoch=self._steps_per_epoch,
            epoch=0,
            total_epochs=self._epochs,
        )

    def _starts_epoch(self, match: re.Match[str]) -> Iterator[ProgressEvent]:
        yield from self._checkpoint_is_complete()
        self._epoch = int(match[1])
        before = self._epoch - 1
        yield from self._epoch_is_over(before, before * self._steps_per_epoch)

    def _starts_checkpoint(self, match: re.Match[str]) -> Iterator[ProgressEvent]:
        yield from self._checkpoint_is_complete()
        epoch, step, is_final = self._position(match[1])
        self._writing = CheckpointSaved(path=match[1], epoch=epoch, step=step, is_final=is_final)

    def _starts_state(self, match: re.Match[str]) -> Iterator[ProgressEvent]:
        position = getattr(self._writing, match[1], None)
        if position == int(match[2]):
            yield from self._checkpoint_is_complete()

    def _goes_on(self, _match: re.Match[str]) -> Iterator[ProgressEvent]:
        yield from self._checkpoint_is_complete()

    def _fails(self, _match: re.Match[str]) -> Iterator[ProgressEvent]:
        self._writing = None
        yield from ()

    def _checkpoint_is_complete(self) -> Iterator[ProgressEvent]:
        """Tell of the file that was being written, now that the trainer has gone on.

        It is announced before it is written. What proves that it is whole does so too where the
        two streams are read one after the other.
        """
        if self._writing is not None:
            saved, self._writing = self._writing, None
            yield saved

    def _saved_state(self, match: re.Match[str]) -> Iterator[ProgressEvent]:
        epoch, step, _is_final = self._position(match[1].removesuffix("-state"))
        yield StateSaved(path=match[1], epoch=epoch, step=step)

    def _position(self, path: str) -> tuple[int, int, bool]:
        """Return the epoch, the step and whether it is the last, as the name of a file has it."""
        name = PurePosixPath(path).name.removesuffix(".safetensors")
        found = _SAVED.fullmatch(name)
        if found is not None and found["epoch"]:
            epoch = int(found["epoch"])
            return epoch, epoch * self._steps_per_epoch or self._step, False
        if found is not None and found["step"]:
            step = int(found["step"])
            epoch = -(-step // self._steps_per_epoch) if self._steps_per_epoch else self._epoch
            return epoch, step, False
        return self._epochs or self._epoch, self._total_steps or self._step, True


class _Cached:
    """How many items of all datasets are cached: the bar counts each dataset from 0."""

    def __init__(self) -> None:
        self.is_on = False
        self._before = self._now = 0

    @property
    def done(self) -> int:
        return self._before + self._now

    def next_dataset(self) -> None:
        self.is_on = True
        self._before, self._now = self.done, 0

    def count(self, done: int) -> bool:
        """Take the bar's number; return whether it is new."""
        is_new = done > self._now
        self._now = max(done, self._now)
        return is_new
