"""Following a training by what musubi-tuner prints itself, on what it really printed."""

import math
import random
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tests.unit.training.musubi.logs import EXIT_CODES, read_log
from training.musubi.plain_log import PlainLog
from training.musubi.progress import (
    CacheProgress,
    CheckpointSaved,
    EpochEnded,
    ProgressEvent,
    StateSaved,
    StepDone,
    TrainingStarted,
)

LOGS = sorted(EXIT_CODES)
# As a pipe that both streams share would deliver them: the real order around one saving.
MIXED = """running training / 学習開始
  num batches per epoch / 1epochのバッチ数: 2
  num epochs / epoch数: 2
  gradient accumulation steps / 勾配を合計するステップ数 = 1
  total optimization steps / 学習ステップ数: 4
\rsteps:   0%|          | 0/4 [00:00<?, ?it/s]
epoch 1/2
\rsteps:  25%|██▌     | 1/4 [00:00<00:00, 4452.55it/s, avr_loss=1.1]\
\rsteps:  50%|█████   | 2/4 [00:12<00:12, 12.50s/it, avr_loss=1.1]\
\rsteps:  50%|█████   | 2/4 [00:12<00:12, 12.50s/it, avr_loss=1.3]
saving checkpoint: /out/a b-000001.safetensors
INFO:musubi_tuner.utils.train_utils:saving state at epoch 1
INFO:accelerate.checkpointing:Random states saved in /out/a b-000001-state/random_states_0.pkl

epoch 2/2
\rsteps:  75%|███████▌| 3/4 [00:24<00:12, 12.50s/it, avr_loss=nan]""".encode()


def events(*chunks: bytes) -> list[ProgressEvent]:
    log = PlainLog()
    found = [event for chunk in chunks for event in log.feed(chunk)]
    return [*found, *log.close()]


def both(name: str) -> list[ProgressEvent]:
    log, streams = PlainLog(), read_log(name)
    found = log.feed(streams.stdout, "stdout") + log.feed(streams.stderr, "stderr")
    return [*found, *log.close()]


def steps(found: list[ProgressEvent]) -> list[int]:
    return [event.step for event in found if isinstance(event, StepDone)]


def test_one_mixed_stream_is_followed_event_by_event() -> None:
    found = events(MIXED)

    first, second, third = (event for event in found if isinstance(event, StepDone))
    assert found == [
        TrainingStarted(step=0, total_steps=4, steps_per_epoch=2, epoch=0, total_epochs=2),
        first,
        second,
        EpochEnded(epoch=1, step=2),
        CheckpointSaved(path="/out/a b-000001.safetensors", epoch=1, step=2, is_final=False),
        StateSaved(path="/out/a b-000001-state", epoch=1, step=2),
        third,
    ]
    assert (first.average_loss, first.seconds_per_step, first.loss) == (1.1, None, None)
    assert (second.average_loss, second.seconds_per_step, second.learning_rate) == (1.3, 12.5, None)
    assert math.isnan(third.average_loss)


def test_a_step_is_told_while_the_next_one_still_runs() -> None:
    log = PlainLog()

    found = log.feed(MIXED[: MIXED.index(b"\nsaving checkpoint")])

    assert steps(found) == [1, 2]


def test_a_real_training_is_followed_to_its_last_file() -> None:
    found = both("03_train_t2v")

    assert steps(found) == list(range(1, 28))
    assert [e.epoch for e in found if isinstance(e, EpochEnded)] == [1, 2, 3]
    assert [e.epoch for e in found if isinstance(e, StepDone)] == [1] * 9 + [2] * 9 + [3] * 9
    saved = [e for e in found if isinstance(e, CheckpointSaved)]
    assert [(e.path.rpartition("/")[2], e.epoch, e.step, e.is_final) for e in saved] == [
        ("my_lora-000001.safetensors", 1, 9, False),
        ("my_lora-000002.safetensors", 2, 18, False),
        ("my_lora.safetensors", 3, 27, True),
    ]
    states = [e for e in found if isinstance(e, StateSaved)]
    assert [(e.path.rpartition("/")[2], e.step) for e in states] == [
        ("my_lora-000001-state", 9),
        ("my_lora-000002-state", 18),
        ("my_lora-state", 27),
    ]


def test_steps_of_several_batches_and_files_by_step_are_counted() -> None:
    found = both("93_steps")

    assert steps(found) == list(range(1, 13))
    assert next(e for e in found if isinstance(e, TrainingStarted)).steps_per_epoch == 5
    saved = [(e.step, e.is_final) for e in found if isinstance(e, CheckpointSaved)]
    assert saved == [(3, False), (6, False), (9, False), (12, False), (12, True)]


def test_lines_of_data_loader_workers_between_bars_do_no_harm() -> None:
    found = both("86_workers")

    assert steps(found) == list(range(1, 19))


def test_bars_of_samples_are_not_taken_for_steps() -> None:
    assert steps(both("90_sample_t2v")) == list(range(1, 19))


def test_cached_items_count_over_all_datasets() -> None:
    log = PlainLog(expected_items=9)

    found = log.feed(read_log("01_cache_latents_t2v").stderr) + log.close()

    assert found == [CacheProgress(done=done, total=9) for done in range(1, 10)]


def test_a_file_that_was_cut_off_by_a_full_disk_is_not_told_as_saved() -> None:
    whole, cut = both("94_diskfull"), both("95_diskfull_lora")

    # In the first the adapter was complete and its state was not.
    assert [e.step for e in whole if isinstance(e, CheckpointSaved)] == [9]
    assert not [e for e in whole if isinstance(e, StateSaved)]
    assert not [e for e in cut if isinstance(e, CheckpointSaved)]
    assert steps(cut) == list(range(1, 10))


@pytest.mark.parametrize("name", LOGS)
def test_what_a_finished_training_announced_is_what_it_told(name: str) -> None:
    log = read_log(name)
    announced = [
        line.partition(": ")[2]
        for line in log.stdout.decode().splitlines()
        if line.startswith("saving checkpoint")
    ]

    found = both(name)

    saved = [e.path for e in found if isinstance(e, CheckpointSaved)]
    assert saved == announced[: len(saved)]
    if log.exit_code == 0:
        assert saved == announced
        started = [e for e in found if isinstance(e, TrainingStarted)]
        expected = list(range(1, started[0].total_steps + 1)) if started and announced else []
        assert steps(found) == expected
    else:
        assert max(Counter(steps(found)).values(), default=1) == 1


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.integers(1, len(MIXED) - 1), max_size=30))
def test_any_cutting_of_the_bytes_gives_the_same_events(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(MIXED)]

    found = events(*(MIXED[a:b] for a, b in pairwise(edges)))

    assert repr(found) == repr(events(MIXED))  # one average loss is not a number


@pytest.mark.parametrize("name", ["03_train_t2v", "46_acc_child_sigkill", "01_cache_latents_t2v"])
@settings(max_examples=examples(8), deadline=None)
@given(st.randoms(use_true_random=False))
def test_any_cutting_of_a_real_log_gives_the_same_events(name: str, chance: random.Random) -> None:
    data = read_log(name).mixed
    edges = [0, *sorted(chance.sample(range(len(data)), 200)), len(data)]

    assert events(*(data[a:b] for a, b in pairwise(edges))) == events(data)


@pytest.mark.parametrize("junk", [b"", b"\xff\xfe\x00steps:", b"x" * 300_000, b"\r" * 1000])
def test_what_means_nothing_is_passed_over(junk: bytes) -> None:
    assert repr(events(junk, b"\n", MIXED)) == repr(events(MIXED))


def test_a_line_without_end_does_not_pile_up() -> None:
    data = b"y" * 200_000 + b"\n" + MIXED
    log = PlainLog()

    found = [
        event
        for start in range(0, len(data), 4096)
        for event in log.feed(data[start : start + 4096])
    ]

    assert repr([*found, *log.close()]) == repr(events(data))
