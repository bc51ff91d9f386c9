"""The training state from which a stage continues: the newest readable one of its own."""

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.damage import DAMAGE
from tests.specs import spec
from training.musubi.state import STATE_FILE, TrainingState, step_state_name, write_state
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
    tensor_file.write(path / "model.safetensors", {}, {})
    (path / "optimizer.bin").write_bytes(b"moments" * step)
    write_state(path, record)
    return path


def test_training_continues_from_the_state_with_the_most_steps(tmp_path: Path) -> None:
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
def test_a_damaged_state_is_logged_and_the_one_before_it_is_used(
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


@pytest.mark.parametrize("file", ["model.safetensors", "optimizer.bin"])
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_the_newest_whole_state_is_taken_whatever_is_damaged(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    damage: Callable[[Path], None],
    file: str,
) -> None:
    save(tmp_path, 4)
    whole, damaged = save(tmp_path, 8), save(tmp_path, 12)
    damage(damaged / file)

    with caplog.at_level(logging.WARNING):
        found = newest_state(tmp_path, RUN, "high")

    assert found == whole
    assert f"{damaged.name} is damaged" in caplog.text


def test_a_state_of_an_earlier_version_needs_no_checksums(tmp_path: Path) -> None:
    state = save(tmp_path, 4)
    facts = json.loads((state / STATE_FILE).read_text())
    del facts["files"]
    (state / STATE_FILE).write_text(json.dumps(facts))

    assert newest_state(tmp_path, RUN, "high") == state


def test_a_state_with_a_foreign_comment_is_ignored(tmp_path: Path) -> None:
    path = save(tmp_path, 4)
    facts = json.loads((path / STATE_FILE).read_text())
    for comment in (None, "a person's words", "7", '{"run": 1}'):
        (path / STATE_FILE).write_text(json.dumps({**facts, "training_comment": comment}))

        assert newest_state(tmp_path, RUN, "high") is None
