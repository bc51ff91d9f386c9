"""Stops, kills and full disks: no complete file is lost, and no partial file remains."""

import json
import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ml.rehearsal.workspace import (
    DATE,
    Workspace,
    child,
    observed,
    run_observed,
    steps,
)
from training.musubi.requests import FOLDER_VARIABLE, ask_to_finish, ask_to_save
from training.musubi.state import read_state
from training.rehearsal import tensor_file
from training.rehearsal.__main__ import main
from training.runs.training_events import (
    CheckpointSaved,
    ProgressEvent,
    StateSaved,
    StepDone,
    Stopped,
    TrainingStarted,
)

STOPPED = 75
OFTEN = {**DATE, "LORABOT_STATE_SECONDS": "0.000001"}  # a state after every step


def wait_for_step(events: Iterator[ProgressEvent], step: int) -> None:
    for event in events:
        if isinstance(event, StepDone) and event.step >= step:
            return
    raise AssertionError("The rehearsal ended before that step.")


def only_whole_files(directory: Path) -> bool:
    """Read every file that has its final name."""
    for path in directory.iterdir():
        if path.name.startswith("."):
            continue
        if path.is_dir():
            read_state(path)
            tensor_file.read_header(path / "model.safetensors")
            tensor_file.read_header(path / "optimizer.bin")
        else:
            tensor_file.read_header(path)
    return True


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_a_stopped_training_resumes_with_the_same_result(
    workspace: Workspace, tmp_path: Path, number: signal.Signals
) -> None:
    line = ["--max_train_epochs", "3", "--save_every_n_epochs", "1", "--save_state"]
    whole = observed(workspace.train_arguments("t2v-14B", tmp_path / "whole", *line), DATE)
    arguments = workspace.train_arguments("t2v-14B", tmp_path / "parts", *line)

    with child(arguments, {**DATE, "LORABOT_STEP_DELAY": "0.05"}) as (process, events):
        wait_for_step(events, 11)
        process.send_signal(number)
        rest = list(events)
        code = process.wait(timeout=20)
    stopped = rest[-1]
    assert code == STOPPED
    assert isinstance(stopped, Stopped)
    state = tmp_path / "parts" / f"lora-step{stopped.step:08d}-state"
    assert [e.path for e in rest if isinstance(e, StateSaved)] == [str(state)]

    resumed = observed([*arguments, "--resume", str(state)], DATE)

    started = resumed[0]
    assert isinstance(started, TrainingStarted)
    assert (started.step, started.epoch, started.total_steps) == (stopped.step, 1, 27)
    expected = steps(whole)[stopped.step :]
    assert [(s.step, s.epoch, s.loss, s.average_loss, s.learning_rate) for s in steps(resumed)] == [
        (s.step, s.epoch, s.loss, s.average_loss, s.learning_rate) for s in expected
    ]
    for name in ("lora.safetensors", "lora-000002.safetensors", "lora-state/model.safetensors"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize("state", ["lora-000001-state", "lora-step00000006-state"])
def test_any_saved_state_can_be_resumed(workspace: Workspace, tmp_path: Path, state: str) -> None:
    line = ["--max_train_epochs", "2", "--save_every_n_epochs", "1", "--save_state"]
    whole = workspace.train_arguments("i2v-A14B", tmp_path / "whole", *line)
    assert main(whole, OFTEN) == 0
    resume = ["--resume", str(tmp_path / "whole" / state)]

    code = main(workspace.train_arguments("i2v-A14B", tmp_path / "b", *line, *resume), DATE)

    assert code == 0
    first, second = (tmp_path / name / "lora.safetensors" for name in ("whole", "b"))
    assert first.read_bytes() == second.read_bytes()


def test_a_finished_training_can_continue_for_more_epochs(
    workspace: Workspace, tmp_path: Path
) -> None:
    first = workspace.train_arguments("t2v-14B", tmp_path / "a", "--max_train_epochs", "1")
    assert main([*first, "--save_state"], DATE) == 0
    state = tmp_path / "a" / "lora-state"
    more = workspace.train_arguments("t2v-14B", tmp_path / "b", "--max_train_epochs", "3")

    events = observed([*more, "--output_name", "more", "--resume", str(state)], DATE)

    assert [step.step for step in steps(events)] == list(range(10, 28))
    assert (tmp_path / "b" / "more.safetensors").exists()


def test_a_state_says_what_it_belongs_to(workspace: Workspace, tmp_path: Path) -> None:
    line = ["--max_train_epochs", "2", "--save_state", "--training_comment", "run 7 high"]
    line += ["--save_every_n_epochs", "1"]
    assert main(workspace.train_arguments("t2v-14B", tmp_path, *line), DATE) == 0

    record = json.loads((tmp_path / "lora-000001-state" / "training_state.json").read_text())

    assert record["output_name"] == "lora"
    assert record["training_comment"] == "run 7 high"
    assert (record["epoch"], record["batch"], record["step"]) == (1, 0, 9)
    assert (record["total_steps"], record["total_epochs"]) == (18, 2)


def test_states_between_the_scheduled_ones_are_saved(workspace: Workspace, tmp_path: Path) -> None:
    arguments = workspace.train_arguments("t2v-14B", tmp_path, "--max_train_steps", "5")

    events = observed(arguments, OFTEN)

    assert [e.step for e in events if isinstance(e, StateSaved)] == [1, 2, 3, 4, 5]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *(f"lora-step{step:08d}-state" for step in (1, 2, 3, 4, 5)),
        "lora.safetensors",
    ]


def test_a_kill_during_a_save_leaves_no_partial_file(workspace: Workspace, tmp_path: Path) -> None:
    arguments = workspace.train_arguments("t2v-14B", tmp_path, "--max_train_steps", "60")
    with child(arguments, OFTEN) as (process, events):
        # The save of this step begins when the event arrives.
        wait_for_step(events, 7)
        process.kill()
        process.wait(timeout=20)

    assert only_whole_files(tmp_path)
    newest = max(tmp_path.glob("lora-step*-state"))
    code, _ = run_observed([*arguments, "--max_train_steps", "9", "--resume", str(newest)], DATE)
    assert code == 0
    assert not list(tmp_path.glob(".*"))


def test_a_failed_write_names_the_reason_and_keeps_the_old_file(
    workspace: Workspace, tmp_path: Path
) -> None:
    before = tmp_path / "lora.safetensors"
    before.write_bytes(b"an earlier file")
    arguments = workspace.train_arguments("t2v-14B", tmp_path, "--max_train_steps", "2")

    def limit_files() -> None:
        # A limit on file sizes stands in for a full disk: the same write fails the same way.
        resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))

    with child(arguments, DATE, limit_files) as (process, events):
        seen = list(events)
        _, error = process.communicate(timeout=20)

    assert process.returncode == 1
    assert error.decode().splitlines()[-1].startswith("OSError: [Errno 27] File too large")
    assert before.read_bytes() == b"an earlier file"
    assert [path.name for path in tmp_path.iterdir()] == ["lora.safetensors"]
    assert not any(isinstance(event, CheckpointSaved) for event in seen)


def test_a_reader_that_leaves_does_not_end_the_training(
    workspace: Workspace, tmp_path: Path
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    arguments = workspace.train_arguments("t2v-14B", tmp_path, "--max_train_steps", "2")

    code = main(arguments, {**DATE, "LORABOT_PROGRESS_FD": str(writer)})

    os.close(writer)
    assert code == 0
    assert (tmp_path / "lora.safetensors").exists()


def test_the_rehearsal_names_itself_and_prints_what_musubi_prints(
    workspace: Workspace, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    line = ["--max_train_epochs", "2", "--save_every_n_epochs", "1"]

    assert main(workspace.train_arguments("t2v-14B", tmp_path, *line), DATE) == 0

    printed = capfd.readouterr()
    out = printed.out.splitlines()
    assert out[0].startswith("rehearsal: a tiny model")
    assert "  num train items / 学習画像、動画数: 9" in out
    assert "  total optimization steps / 学習ステップ数: 18" in out
    assert "epoch 2/2" in out
    assert f"saving checkpoint: {tmp_path}/lora-000001.safetensors" in out
    assert "| 18/18 [" in printed.err.split("\r")[-1]
    assert "avr_loss=" in printed.err.split("\r")[-1]


def test_a_checkpoint_that_is_asked_for_is_saved_after_the_step_and_changes_nothing(
    workspace: Workspace, tmp_path: Path
) -> None:
    line = ["--max_train_epochs", "2", "--save_every_n_epochs", "1", "--save_state"]
    whole = workspace.train_arguments("t2v-14B", tmp_path / "whole", *line)
    assert main(whole, DATE) == 0
    ask_to_save(tmp_path)
    asked = {**DATE, FOLDER_VARIABLE: str(tmp_path)}

    events = observed(workspace.train_arguments("t2v-14B", tmp_path / "asked", *line), asked)

    first = next(event for event in events if isinstance(event, CheckpointSaved))
    assert Path(first.path).name == "lora-step00000001.safetensors"
    assert (first.epoch, first.step, first.is_final) == (1, 1, False)
    states = [Path(event.path) for event in events if isinstance(event, StateSaved)]
    assert read_state(states[0]).reason == "asked"
    assert len([event for event in events if isinstance(event, CheckpointSaved)]) == 3
    final = "lora.safetensors"
    assert (tmp_path / "asked" / final).read_bytes() == (tmp_path / "whole" / final).read_bytes()


def test_a_training_that_is_asked_to_end_saves_its_final_files_and_succeeds(
    workspace: Workspace, tmp_path: Path
) -> None:
    ask_to_finish(tmp_path)
    line = ["--max_train_epochs", "3", "--save_every_n_epochs", "1", "--save_state"]
    arguments = workspace.train_arguments("t2v-14B", tmp_path / "out", *line)

    events = observed(arguments, {**DATE, FOLDER_VARIABLE: str(tmp_path)})

    assert [step.step for step in steps(events)] == [1]
    saved = [event for event in events if isinstance(event, CheckpointSaved)]
    assert [(Path(e.path).name, e.epoch, e.step, e.is_final) for e in saved] == [
        ("lora.safetensors", 1, 1, True)
    ]
    assert not any(isinstance(event, Stopped) for event in events)
    state = read_state(tmp_path / "out" / "lora-state")
    assert (state.reason, state.epoch, state.step) == ("end", 0, 1)
