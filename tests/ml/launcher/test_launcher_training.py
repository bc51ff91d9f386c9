"""The launcher on a stand-in trainer: what it reports, saves, stops and resumes."""

import json
import re
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.ml.launcher.launched import TRAIN, Ended, launched, run
from training.files.safetensors_header import read_header
from training.musubi.progress import EXIT_BROKE
from training.musubi.requests import FOLDER_VARIABLE, ask_to_finish, ask_to_save
from training.musubi.state import read_state
from training.runs.training_events import (
    CheckpointSaved,
    CheckpointStarted,
    EpochEnded,
    FastRefused,
    LossBroke,
    ProgressEvent,
    StateSaved,
    StepDone,
    Stopped,
    TrainingStarted,
    Warned,
)

FINAL = "lora.safetensors"
STEPS = 15  # three epochs of five
OFTEN = {"LORABOT_STATE_SECONDS": "0.000001"}  # a state after every step


def line(folder: Path, *more: str) -> list[str]:
    given = ["--output_dir", str(folder), "--output_name", "lora", "--training_comment", "run 7"]
    return [*given, *more]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ended]:
    folder = tmp_path_factory.mktemp("whole")
    return folder, run(TRAIN, line(folder))


def weights(path: Path) -> dict[str, bytes]:
    header = read_header(path)
    return {name: header.read(name).tobytes() for name in header.tensors}


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if "-step" not in path.name}


def read_to_step(events: Iterator[ProgressEvent], step: int) -> list[ProgressEvent]:
    seen: list[ProgressEvent] = []
    for event in events:
        seen.append(event)
        if isinstance(event, StepDone) and event.step == step:
            return seen
    raise AssertionError(f"The training ended before step {step}: {seen[-1:]}")


def stop_at(
    folder: Path, step: int, *more: str, number: signal.Signals = signal.SIGTERM
) -> list[ProgressEvent]:
    """Train until the step after `step`, which hangs; stop it there."""
    arguments = line(folder, "--hang_at", str(step + 1), *more)
    with launched(TRAIN, arguments) as (process, events):
        seen = read_to_step(events, step)
        process.send_signal(number)
        seen += list(events)
        assert process.wait() == 75
    return seen


def newest(events: Sequence[ProgressEvent]) -> str:
    return [event.path for event in events if isinstance(event, StateSaved)][-1]


def test_every_step_checkpoint_and_state_is_reported_in_order(whole: tuple[Path, Ended]) -> None:
    folder, ended = whole

    kinds = [type(event) for event in ended.events if not isinstance(event, StepDone)]
    epoch = [EpochEnded, CheckpointStarted, CheckpointSaved, StateSaved]
    last = [EpochEnded, StateSaved, CheckpointStarted, CheckpointSaved]
    assert ended.code == 0, ended.output
    assert kinds == [TrainingStarted, *epoch, *epoch, *last]
    assert [step[:2] for step in ended.steps] == [(n, (n - 1) // 5 + 1) for n in range(1, 16)]
    assert [step[4] for step in ended.steps] == pytest.approx(
        [0.1 * (1 - n / 15) for n in range(15)]
    )
    saved = [e for e in ended.events if isinstance(e, CheckpointSaved)]
    assert [(Path(e.path).name, e.epoch, e.step, e.is_final) for e in saved] == [
        ("lora-000001.safetensors", 1, 5, False),
        ("lora-000002.safetensors", 2, 10, False),
        ("lora.safetensors", 3, 15, True),
    ]
    assert names(folder) == {
        *("lora-000001.safetensors", "lora-000001-state", "lora-000002.safetensors"),
        *("lora-000002-state", "lora.safetensors", "lora-state"),
    }


def test_every_step_tells_its_size_unless_it_is_made_of_several_batches(
    whole: tuple[Path, Ended], tmp_path: Path
) -> None:
    mixed = run(TRAIN, line(tmp_path, "--gradient_accumulation_steps", "2"))

    # Latents of one frame of 2 x 4 pixels: 2 x 2 pixels make a token.
    for ended, size in ((whole[1], (1, 2)), (mixed, (None, None))):
        found = {(e.samples, e.tokens) for e in ended.events if isinstance(e, StepDone)}
        assert found == {size}


def test_a_state_says_what_it_belongs_to(whole: tuple[Path, Ended]) -> None:
    record = json.loads((whole[0] / "lora-000002-state" / "training_state.json").read_text())

    assert (record["epoch"], record["batch"], record["step"]) == (2, 0, 10)
    assert (record["total_epochs"], record["total_steps"]) == (3, 15)
    assert (record["training_comment"], record["reason"]) == ("run 7", "epoch")


def test_steps_that_cannot_be_compiled_are_musubis_own_to_the_byte_and_said(
    whole: tuple[Path, Ended], tmp_path: Path
) -> None:
    reason = "blocks are swapped to the CPU"

    ended = run(TRAIN, ["--fast", "16bit", *line(tmp_path)])

    assert ended.code == 0, ended.output
    assert [e.reason for e in ended.events if isinstance(e, FastRefused)] == [reason]
    assert ended.steps == whole[1].steps
    assert weights(tmp_path / FINAL) == weights(whole[0] / FINAL)
    record = json.loads((tmp_path / "lora-000002-state/training_state.json").read_text())
    assert record["fast"] == f"off: {reason}"
    assert "fast" not in (whole[0] / "lora-000002-state/training_state.json").read_text()


def test_only_compiled_training_uses_the_gpus_memory_without_gaps(
    whole: tuple[Path, Ended], tmp_path: Path
) -> None:
    ended = run(TRAIN, ["--fast", "16bit", *line(tmp_path)])

    assert "memory of the GPU: expandable_segments:True" in ended.output
    assert "memory of the GPU: as usual" in whole[1].output


def test_gradients_of_several_batches_are_not_compiled(tmp_path: Path) -> None:
    ended = run(TRAIN, line(tmp_path, "--gradient_accumulation_steps", "2", "--fast", "fp8"))

    assert ended.code == 0, ended.output
    reasons = [e.reason for e in ended.events if isinstance(e, FastRefused)]
    assert reasons == ["gradients are summed over several batches"]


@pytest.mark.parametrize(
    ("step", "number", "workers"),
    [(3, signal.SIGTERM, "0"), (7, signal.SIGINT, "2"), (10, signal.SIGTERM, "2")],
    ids=["in the first epoch", "in a later one, with workers", "between two epochs"],
)
def test_a_stop_saves_the_last_step_without_waiting_and_a_resume_ends_the_same(
    whole: tuple[Path, Ended], tmp_path: Path, step: int, number: signal.Signals, workers: str
) -> None:
    more = ["--max_data_loader_n_workers", workers]
    first = stop_at(tmp_path, step, *more, number=number)
    assert isinstance(first[-1], Stopped)
    assert first[-1].step == step

    second = run(TRAIN, line(tmp_path, *more, "--resume", newest(first)))

    assert second.code == 0, second.output
    assert f"bar of steps begins at {step}" in second.output
    assert [s[:2] for s in second.steps] == [s[:2] for s in whole[1].steps[step:]]
    together = [*Ended(0, first, "").steps, *second.steps]
    if workers == "0":  # workers draw a random number before the first batch
        assert together == whole[1].steps
        assert weights(tmp_path / "lora.safetensors") == weights(whole[0] / "lora.safetensors")
    assert [s[4] for s in together] == [s[4] for s in whole[1].steps]
    assert names(tmp_path) == names(whole[0])


@pytest.mark.parametrize("state", ["lora-000001-state", "lora-000002-state"])
@pytest.mark.parametrize("workers", ["0", "2"])
def test_resuming_from_an_epochs_state_ends_the_same(
    tmp_path: Path, state: str, workers: str
) -> None:
    more = ["--max_data_loader_n_workers", workers]
    before = run(TRAIN, line(tmp_path / "a", *more))
    path = tmp_path / "a" / state

    after = run(TRAIN, line(tmp_path / "b", *more, "--resume", str(path)))

    assert after.steps == before.steps[read_state(path).step :]
    assert weights(tmp_path / "b/lora.safetensors") == weights(tmp_path / "a/lora.safetensors")


def test_a_checkpoint_skipped_by_a_stop_is_written_after_resuming(tmp_path: Path) -> None:
    before = run(TRAIN, line(tmp_path / "a"))
    state = tmp_path / "a" / "lora-000001-state"
    record = json.loads((state / "training_state.json").read_text())
    # This is the state of a stop between the epoch's last step and its checkpoint.
    record |= {"epoch": 0, "batch": 5}
    (state / "training_state.json").write_text(json.dumps(record))

    after = run(TRAIN, line(tmp_path / "b", "--resume", str(state)))

    assert after.code == 0, after.output
    assert after.steps == before.steps[5:]
    assert names(tmp_path / "b") == names(tmp_path / "a")
    first = "lora-000001.safetensors"
    assert weights(tmp_path / "b" / first) == weights(tmp_path / "a" / first)


def test_sigkill_loses_only_the_steps_after_the_newest_timed_state(
    whole: tuple[Path, Ended], tmp_path: Path
) -> None:
    with launched(TRAIN, line(tmp_path, "--hang_at", "8"), OFTEN) as (process, events):
        seen = read_to_step(events, 7)
        event = next(events)
        process.kill()
    assert isinstance(event, StateSaved)
    assert Path(event.path).name == "lora-step00000007-state"

    second = run(TRAIN, line(tmp_path, "--resume", event.path))

    assert [*Ended(0, seen, "").steps, *second.steps] == whole[1].steps
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_steps_of_several_batches_are_counted_and_resumed(tmp_path: Path) -> None:
    more = ["--gradient_accumulation_steps", "2"]
    before = run(TRAIN, line(tmp_path / "a", *more), OFTEN)
    states = {e.step: e for e in before.events if isinstance(e, StateSaved)}
    assert [step[:2] for step in before.steps] == [(n, (n - 1) // 3 + 1) for n in range(1, 10)]
    assert (states[2].epoch, states[4].epoch) == (0, 1)

    for step in (2, 4):
        after = run(TRAIN, line(tmp_path / "b", *more, "--resume", states[step].path))

        assert after.steps == before.steps[step:]


def test_more_epochs_follow_the_schedule_of_the_new_length(tmp_path: Path) -> None:
    run(TRAIN, line(tmp_path, "--max_train_epochs", "1"))
    state = str(tmp_path / "lora-state")

    more = run(TRAIN, line(tmp_path, "--resume", state))

    assert [step[:2] for step in more.steps] == [(n, (n - 1) // 5 + 1) for n in range(6, 16)]
    assert [s[4] for s in more.steps] == pytest.approx([0.1 * (1 - n / 15) for n in range(5, 15)])


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["--zero_after", "0.5"], ("learning_rate_zero", 9)),
        (["--vanish_at", "1"], ("adapter_unchanged", 1)),
        (["--lr_warmup_steps", "3", "--zero_after", "0.0"], ("learning_rate_zero", 4)),
    ],
)
def test_a_useless_training_is_reported_once_and_at_once(
    tmp_path: Path, given: list[str], expected: tuple[str, int]
) -> None:
    ended = run(TRAIN, line(tmp_path, *given))

    warned = [(e.trouble, e.step) for e in ended.events if isinstance(e, Warned)]
    assert warned == [expected]
    assert ended.code == 0


def test_a_nan_loss_ends_training_at_the_last_good_state(
    whole: tuple[Path, Ended], tmp_path: Path
) -> None:
    ended = run(TRAIN, line(tmp_path, "--nan_at", "8"))

    assert ended.code == EXIT_BROKE
    (broke,) = [event for event in ended.events if isinstance(event, LossBroke)]
    assert broke == ended.events[-1]
    assert (broke.step, broke.epoch) == (8, 2)
    assert [bool(re.fullmatch(r"\d_wan\.safetensors", item)) for item in broke.items] == [True]
    assert [step[0] for step in ended.steps] == list(range(1, 11))  # the eighth and two more
    assert [e.step for e in ended.events if isinstance(e, StateSaved)] == [5, 7]
    checkpoints = [e.epoch for e in ended.events if isinstance(e, CheckpointSaved)]
    assert checkpoints == [1]

    more = run(TRAIN, line(tmp_path, "--resume", str(tmp_path / "lora-step00000007-state")))

    assert more.code == 0
    assert weights(tmp_path / FINAL) == weights(whole[0] / FINAL)


@pytest.mark.parametrize("step", ["14", "15"])
def test_a_nan_loss_just_before_the_end_leaves_no_final_checkpoint(
    step: str, tmp_path: Path
) -> None:
    ended = run(TRAIN, line(tmp_path, "--nan_at", step))

    assert ended.code == EXIT_BROKE
    assert isinstance(ended.events[-1], LossBroke)
    assert not (tmp_path / FINAL).exists()


def test_a_good_training_has_no_warning(whole: tuple[Path, Ended]) -> None:
    assert not [event for event in whole[1].events if isinstance(event, Warned)]


def test_a_folder_that_is_not_a_state_is_refused_before_loading(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    ended = run(TRAIN, line(tmp_path, "--resume", str(tmp_path / "empty")))

    assert ended.code == 1
    assert ended.events == []
    assert "has no readable training_state.json" in ended.output.splitlines()[-1]


def test_a_stop_before_the_first_step_ends_at_once(tmp_path: Path) -> None:
    with launched(TRAIN, line(tmp_path, "--hang_at", "1")) as (process, events):
        assert isinstance(next(events), TrainingStarted)
        process.send_signal(signal.SIGTERM)

        assert [type(event) for event in events] == [Stopped]
        assert process.wait() == 75
    assert list(tmp_path.iterdir()) == []


def test_the_cache_files_have_the_same_order_on_every_machine(
    whole: tuple[Path, Ended],
) -> None:
    assert "cache files: ['a_wan', 'b_wan', 'c_wan']" in whole[1].output


def test_children_end_with_their_trainer_even_if_it_is_killed(tmp_path: Path) -> None:
    with launched(TRAIN, line(tmp_path, "--hang_at", "3", "--with_child")) as (process, events):
        read_to_step(events, 2)
        process.kill()

        # The events end when no process is left that could write one; the child waits forever.
        assert list(events) == []


def test_children_end_when_their_trainer_succeeds(tmp_path: Path) -> None:
    ended = run(TRAIN, line(tmp_path, "--with_child"))

    assert ended.code == 0, ended.output


def test_a_checkpoint_that_is_asked_for_is_saved_after_the_step_and_changes_nothing(
    whole: tuple[Path, Ended], tmp_path: Path
) -> None:
    ask_to_save(tmp_path)

    ended = run(TRAIN, line(tmp_path), {FOLDER_VARIABLE: str(tmp_path)})

    assert ended.code == 0, ended.output
    saved = [e for e in ended.events if isinstance(e, CheckpointSaved)]
    assert [(Path(e.path).name, e.epoch, e.step) for e in saved][:2] == [
        ("lora-step00000001.safetensors", 1, 1),
        ("lora-000001.safetensors", 1, 5),
    ]
    assert len(saved) == 4
    state = read_state(tmp_path / "lora-step00000001-state")
    assert (state.reason, state.step, state.batch) == ("asked", 1, 1)
    assert ended.steps == whole[1].steps
    assert weights(tmp_path / FINAL) == weights(whole[0] / FINAL)


def test_the_state_of_a_checkpoint_that_was_asked_for_can_be_resumed(
    whole: tuple[Path, Ended], tmp_path: Path
) -> None:
    ask_to_save(tmp_path)
    arguments = line(tmp_path, "--hang_at", "3")
    with launched(TRAIN, arguments, {FOLDER_VARIABLE: str(tmp_path)}) as (process, events):
        read_to_step(events, 2)
        process.kill()

    resumed = run(TRAIN, line(tmp_path, "--resume", str(tmp_path / "lora-step00000001-state")))

    assert resumed.code == 0, resumed.output
    assert resumed.steps == whole[1].steps[1:]
    assert weights(tmp_path / FINAL) == weights(whole[0] / FINAL)


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_training_that_is_asked_to_end_saves_its_final_files_and_succeeds(
    tmp_path: Path, workers: str
) -> None:
    more = ["--hang_at", "8", "--max_data_loader_n_workers", workers]
    with launched(TRAIN, line(tmp_path, *more), {FOLDER_VARIABLE: str(tmp_path)}) as (process, on):
        read_to_step(on, 7)
        process.kill()
    ask_to_finish(tmp_path)
    resume = ["--resume", str(tmp_path / "lora-000001-state")]

    ended = run(TRAIN, line(tmp_path, *more[2:], *resume), {FOLDER_VARIABLE: str(tmp_path)})

    assert ended.code == 0, ended.output
    assert [step[0] for step in ended.steps] == [6]
    saved = [e for e in ended.events if isinstance(e, CheckpointSaved)]
    assert [(Path(e.path).name, e.epoch, e.step, e.is_final) for e in saved] == [
        (FINAL, 2, 6, True)
    ]
    assert read_header(tmp_path / FINAL).metadata["ss_epoch"] == "2"
    state = read_state(tmp_path / "lora-state")
    assert (state.reason, state.epoch, state.batch, state.step) == ("end", 1, 1, 6)
