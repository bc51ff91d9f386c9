"""The progress protocol between a trainer and the stage that started it."""

import math
import os
import threading
from pathlib import Path

import pytest

from training.musubi.progress import ProgressWriter
from training.musubi.progress_reader import read_events
from training.runs import training_events as event

EVENTS: list[event.ProgressEvent] = [
    event.CacheProgress(done=3, total=12),
    event.TrainingStarted(step=0, total_steps=100, steps_per_epoch=10, epoch=0, total_epochs=10),
    event.StepDone(
        step=1,
        total_steps=100,
        epoch=1,
        loss=1.25,
        average_loss=1.5,
        learning_rate=8e-5,
        seconds_per_step=0.01,
        gpu_memory_bytes=1 << 36,
    ),
    event.EpochEnded(epoch=1, step=10),
    event.CheckpointSaved(path="/out/a-000001.safetensors", epoch=1, step=10, is_final=False),
    event.StateSaved(path="/out/a-000001-state", epoch=1, step=10),
    event.Stopped(step=11, epoch=1),
    event.CheckpointStarted(path="/out/a-000001.safetensors", epoch=1, step=10),
    event.Warned(trouble="loss_not_finite", step=3, epoch=0),
    event.FastRefused(reason="blocks are swapped to the CPU"),
]


def test_every_event_arrives_as_it_was_written() -> None:
    reader, writer = os.pipe()
    progress = ProgressWriter.from_environment({"LORABOT_PROGRESS_FD": str(writer)})

    for one in EVENTS:
        progress.write(one)
    os.close(writer)

    assert list(read_events(reader)) == EVENTS
    os.close(reader)


def test_an_event_is_readable_as_soon_as_it_is_written() -> None:
    reader, writer = os.pipe()
    first = threading.Event()
    seen: list[event.ProgressEvent] = []

    def read() -> None:
        for one in read_events(reader):
            seen.append(one)
            first.set()

    thread = threading.Thread(target=read)
    thread.start()
    ProgressWriter(writer).write(EVENTS[0])

    assert first.wait(timeout=5)
    assert seen == EVENTS[:1]
    os.close(writer)
    thread.join(timeout=5)
    os.close(reader)


def test_without_the_variable_nothing_is_written(capfd: pytest.CaptureFixture[str]) -> None:
    before = sorted(Path("/proc/self/fd").iterdir())

    ProgressWriter.from_environment({}).write(EVENTS[0])

    assert capfd.readouterr() == ("", "")
    assert sorted(Path("/proc/self/fd").iterdir()) == before


def test_a_writer_without_a_reader_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    progress, write = ProgressWriter(writer), os.write
    tried: list[int] = []

    def try_once(descriptor: int, data: bytes) -> int:
        tried.append(descriptor)
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", try_once)

    progress.write(EVENTS[0])
    progress.write(EVENTS[1])

    assert tried == [writer]
    os.close(writer)


def test_a_loss_that_is_not_a_number_is_reported_as_such() -> None:
    reader, writer = os.pipe()
    one = event.StepDone(
        step=1,
        total_steps=2,
        epoch=1,
        loss=math.nan,
        average_loss=math.inf,
        learning_rate=0.0,
        seconds_per_step=0.0,
    )

    ProgressWriter(writer).write(one)
    os.close(writer)

    (read,) = read_events(reader)
    os.close(reader)
    assert isinstance(read, event.StepDone)
    assert read.loss is not None
    assert math.isnan(read.loss)
    assert math.isinf(read.average_loss)


@pytest.mark.parametrize(
    "line",
    [
        b"steps: 1%",
        b"[]",
        b'{"kind":"unheard-of"}',
        b'{"kind":"epoch","epoch":1}',
        b'{"kind":"cache","done":"three","total":4}',
    ],
)
def test_garbage_is_refused(line: bytes) -> None:
    reader, writer = os.pipe()
    os.write(writer, line + b"\n")
    os.close(writer)

    with pytest.raises(ValueError, match="Not a progress event"):
        list(read_events(reader))
    os.close(reader)


def test_an_event_too_long_for_one_write_is_refused() -> None:
    one = event.StateSaved(path="x" * 5000, epoch=1, step=1)

    with pytest.raises(ValueError, match="too long"):
        ProgressWriter(1).write(one)
