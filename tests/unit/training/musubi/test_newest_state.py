"""Which training state a stage goes on from: the newest of its own that can be read."""

import json
import logging
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.specs import spec
from training.musubi.state import STATE_FILE, TrainingState, step_state_name
from training.pipeline.stages.train import newest_state
from training.rehearsal import tensor_file

RUN = spec("wan22-t2v-vanilla")


def save(folder: Path, step: int, *, run: str = RUN.name, expert: str = "high") -> Path:
    path = folder / step_state_name("lora", step)
    path.mkdir()
    record = TrainingState(
        epoch=step // 4,
        batch=0,
        step=step,
        total_steps=40,
        total_epochs=10,
        output_name="lora",
        training_comment=json.dumps({"run": run, "expert": expert}),
        seed=42,
        reason="time",
        started_at=0.0,
        losses=[],
    )
    (path / STATE_FILE).write_text(json.dumps(asdict(record)), "utf-8")
    tensor_file.write(path / "model.safetensors", {}, {})
    return path


def test_the_state_with_the_most_steps_is_gone_on_from(tmp_path: Path) -> None:
    save(tmp_path, 4)
    newest = save(tmp_path, 12)
    save(tmp_path, 8)

    assert newest_state(tmp_path, RUN, "high") == newest


def test_a_state_of_another_run_or_expert_is_left_alone(tmp_path: Path) -> None:
    save(tmp_path, 4, run="another")
    save(tmp_path, 8, expert="low")

    assert newest_state(tmp_path, RUN, "high") is None


@pytest.mark.parametrize(
    ("file", "content"),
    [
        (STATE_FILE, b'{"epoch": 3, "ba'),
        (STATE_FILE, b"\xff\xfe"),
        (STATE_FILE, b"[]"),
        ("model.safetensors", b"cut off"),
        ("model.safetensors", None),
    ],
)
def test_a_damaged_state_is_said_and_the_one_before_it_taken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, file: str, content: bytes | None
) -> None:
    whole, damaged = save(tmp_path, 4), save(tmp_path, 8)
    (damaged / file).unlink()
    if content is not None:
        (damaged / file).write_bytes(content)

    with caplog.at_level(logging.WARNING):
        found = newest_state(tmp_path, RUN, "high")

    assert found == whole
    assert damaged.name in caplog.text


def test_a_comment_that_is_not_ours_makes_no_state_of_ours(tmp_path: Path) -> None:
    path = save(tmp_path, 4)
    facts = json.loads((path / STATE_FILE).read_text())
    for comment in (None, "a person's words", "7", '{"run": 1}'):
        (path / STATE_FILE).write_text(json.dumps({**facts, "training_comment": comment}))

        assert newest_state(tmp_path, RUN, "high") is None
