"""The launcher finds its hook points in musubi-tuner, or says which commit it needs."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import training.musubi.launcher
from tests.damage import flip_a_bit
from tests.ml.launcher.launched import LATENTS, STANDIN, TEXT, TRAIN, run
from training.musubi.launcher.hooks import MUSUBI_COMMIT, HookError, with_start_values
from training.pipeline.stages.cache_making import is_complete
from training.runs.training_events import CacheProgress

PACKAGE = "src/musubi_tuner"
TRAINER = f"{PACKAGE}/training/trainer_base.py"
TEXTS = f"{PACKAGE}/cache_text_encoder_outputs.py"
STATES = f"{PACKAGE}/utils/train_utils.py"


def counting(steps: int) -> list[tuple[int, int]]:
    """Count like a training loop."""
    seen: list[tuple[int, int]] = []
    epoch_to_start = 0
    global_step = 0
    for epoch in range(epoch_to_start, 3):
        for _ in range(steps):
            global_step += 1
            seen.append((epoch, global_step))
    return seen


def test_a_loop_that_counts_from_zero_can_start_elsewhere() -> None:
    start = {"epoch": 2, "step": 7}
    counted = with_start_values(
        counting, {"epoch_to_start": lambda: start["epoch"], "global_step": lambda: start["step"]}
    )

    assert counted(2) == [(2, 8), (2, 9)]
    start |= {"epoch": 1, "step": 4}
    assert counted(1) == [(1, 5), (2, 6)]
    assert counting(1) == [(0, 1), (1, 2), (2, 3)]


def test_a_changed_loop_keeps_its_lines_in_tracebacks() -> None:
    counted = with_start_values(counting, {"global_step": lambda: 0})

    assert counted.__code__.co_filename == __file__
    assert counted.__code__.co_firstlineno == counting.__code__.co_firstlineno


@pytest.mark.parametrize("name", ["steps", "epoch", "no_such_variable"])
def test_a_loop_that_does_not_start_at_zero_is_refused(name: str) -> None:
    with pytest.raises(HookError, match=f"starts {name} at 0 in 0 places"):
        with_start_values(counting, {name: lambda: 1})


@pytest.mark.parametrize(
    ("script", "file", "text", "other", "told"),
    [
        (TRAIN, TRAINER, "_run_training_loop", "_train_loop", "_run_training_loop is missing"),
        (TRAIN, TRAINER, "training_started_at", "began", "takes no training_started_at"),
        (TRAIN, TRAINER, "process_batch", "compute_batch", "process_batch is missing"),
        (TRAIN, TRAINER, "global_step = 0", "global_step = 1", "starts global_step at 0 in 0"),
        (TRAIN, TRAINER, "_validate_args_and_init", "_check", "_validate_args_and_init is missing"),
        (TRAIN, STATES, "save_state_on_train_end", "save_last", "save_state_on_train_end is missi"),
        (TRAIN, STATES, "LossRecorder", "Losses", "LossRecorder is missing"),
        (LATENTS, f"{PACKAGE}/cache_latents.py", "encode_datasets", "encode", "encode_datasets is"),
        (
            TEXT,
            TEXTS,
            "process_text_encoder_batches",
            "process",
            "encoder_batches is missing",
        ),
    ],
)
def test_another_musubi_is_refused_naming_the_commit(
    tmp_path: Path, script: str, file: str, text: str, other: str, told: str
) -> None:
    checkout = tmp_path / "musubi"
    shutil.copytree(STANDIN, checkout)
    path = checkout / file
    assert text in path.read_text()
    path.write_text(path.read_text().replace(text, other))

    ended = run(script, ["--output_dir", str(tmp_path / "out")], checkout=checkout)

    assert ended.code == 1
    last = ended.output.splitlines()[-1]
    assert last.startswith("HookError: musubi_tuner.")
    assert told in last
    assert MUSUBI_COMMIT in last
    assert "Traceback" not in ended.output
    assert not (tmp_path / "out").exists()


def test_every_hook_point_is_replaced_and_not_only_checked() -> None:
    folder = Path(training.musubi.launcher.__file__).parent
    code = "".join(path.read_text("utf-8") for path in folder.rglob("*.py"))
    points = set(re.findall(r"^([A-Z_]+) = HookPoint\(", code, re.MULTILINE))

    unused = {point for point in points if f"{point}.replace(" not in code}

    assert unused == {"ADD_LOSS"}  # the launcher's own recorder has this method


def test_latents_are_counted_by_sample_and_appear_when_complete(tmp_path: Path) -> None:
    ended = run(LATENTS, [str(tmp_path)])

    assert ended.code == 0, ended.output
    # The clip's second window does not count as another sample.
    assert ended.events == [CacheProgress(done=n, total=3) for n in (0, 1, 2, 3)]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "a_00000-009_0064x0064_wan.safetensors",
        "b_0064x0064_wan.safetensors",
        "clip_00000-009_wan.safetensors",
        "clip_00009-009_wan.safetensors",
    ]


def test_texts_are_counted_by_batch(tmp_path: Path) -> None:
    ended = run(TEXT, [str(tmp_path)])

    assert ended.events == [CacheProgress(done=n, total=3) for n in (0, 2, 3)]
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("script", [LATENTS, TEXT])
def test_damage_to_a_cache_file_is_found(tmp_path: Path, script: str) -> None:
    assert run(script, [str(tmp_path)]).code == 0

    for path in tmp_path.iterdir():
        assert is_complete(path)
        flip_a_bit(path)
        assert not is_complete(path)


def test_a_cache_file_that_fails_leaves_nothing(tmp_path: Path) -> None:
    ended = run(LATENTS, [str(tmp_path), "die"])

    assert ended.code == 1
    assert "the disk is full" in ended.output
    assert list(tmp_path.iterdir()) == []


def test_a_script_that_is_not_musubis_is_refused(tmp_path: Path) -> None:
    (tmp_path / "src/musubi_tuner").mkdir(parents=True)
    (tmp_path / "src/musubi_tuner/other.py").touch()

    assert run("other.py", [], checkout=tmp_path).code == 2
    assert run(TRAIN, [], checkout=tmp_path).code == 2


def test_the_launcher_runs_as_a_folder_with_only_musubis_packages(tmp_path: Path) -> None:
    launcher = Path(training.musubi.launcher.__file__).parent
    script = STANDIN / PACKAGE / LATENTS
    code = (
        "import runpy, sys\n"
        "class Nothing:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('pydantic', 'torch', 'bot', 'storage'):\n"
        "            raise ImportError(name)\n"
        "sys.meta_path.insert(0, Nothing())\n"
        f"sys.argv = [{str(launcher)!r}, {str(script)!r}, {str(tmp_path)!r}]\n"
        f"runpy.run_path({str(launcher)!r}, run_name='__main__')\n"
    )

    done = subprocess.run(
        [sys.executable, "-I", "-c", code], cwd="/", check=False, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.iterdir())) == 4
