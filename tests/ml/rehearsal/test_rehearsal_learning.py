"""A rehearsal really learns, the same way every time, and writes musubi-tuner's files."""

import json
from pathlib import Path
from statistics import mean

import numpy as np
import pytest

from tests.ml.rehearsal.workspace import DATE, Task, Workspace, losses, observed
from training.rehearsal import tensor_file
from training.rehearsal.__main__ import main
from training.rehearsal.model.shape import adapter_widths
from training.runs.training_events import (
    CheckpointSaved,
    EpochEnded,
    StateSaved,
    TrainingStarted,
)

# Keys of a file that musubi-tuner v0.3.4 wrote with this command line's options.
MUSUBI_KEYS = """
modelspec.architecture modelspec.date modelspec.implementation modelspec.resolution
modelspec.sai_model_spec modelspec.title ss_base_model_version ss_datasets ss_discrete_flow_shift
ss_epoch ss_fp8_base ss_full_bf16 ss_full_fp16 ss_gradient_accumulation_steps
ss_gradient_checkpointing ss_gradient_checkpointing_cpu_offload ss_guidance_scale ss_learning_rate
ss_logit_mean ss_logit_std ss_lr_scheduler ss_lr_warmup_steps ss_max_grad_norm ss_max_train_steps
ss_mixed_precision ss_mode_scale ss_network_alpha ss_network_dim ss_network_dropout
ss_network_module ss_num_batches_per_epoch ss_num_epochs ss_num_train_items ss_optimizer
ss_output_name ss_sd_model_name ss_seed ss_session_id ss_sigmoid_scale ss_steps
ss_timestep_sampling ss_training_comment ss_training_finished_at ss_training_started_at
ss_weighting_scheme sshs_legacy_hash sshs_model_hash
""".split()  # noqa: SIM905 - forty-five quoted lines would hide the list


def expert(rank: int, rate: str, shift: str, timesteps: tuple[int, int] | None) -> list[str]:
    line = ["--network_dim", str(rank), "--network_alpha", str(rank), "--learning_rate", rate]
    line += ["--discrete_flow_shift", shift]
    if timesteps is not None:
        line += ["--min_timestep", str(timesteps[0]), "--max_timestep", str(timesteps[1])]
        line.append("--preserve_distribution_shape")
    return line


@pytest.mark.parametrize(
    ("task", "settings"),
    [
        pytest.param("t2v-14B", expert(24, "8e-5", "3", None), id="wan21-t2v"),
        pytest.param(
            "i2v-14B", expert(24, "8e-5", "5", None), id="wan21-i2v", marks=pytest.mark.slow
        ),
        pytest.param(
            "t2v-A14B",
            expert(8, "1e-4", "3", (875, 1000)),
            id="wan22-t2v-high",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "t2v-A14B",
            expert(42, "8e-5", "3", (0, 875)),
            id="wan22-t2v-low",
            marks=pytest.mark.slow,
        ),
        pytest.param("i2v-A14B", expert(8, "1e-4", "5", (900, 1000)), id="wan22-i2v-high"),
        pytest.param(
            "i2v-A14B",
            expert(42, "8e-5", "5", (0, 900)),
            id="wan22-i2v-low",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_the_loss_falls(
    workspace: Workspace, tmp_path: Path, task: Task, settings: list[str]
) -> None:
    arguments = workspace.train_arguments(task, tmp_path, *settings, "--max_train_epochs", "13")

    found = losses(observed(arguments, DATE))

    tenth = len(found) // 10
    assert len(found) == 117
    assert mean(found[-tenth:]) < 0.8 * mean(found[:tenth])


def test_equal_seeds_give_equal_bytes_and_other_seeds_others(
    workspace: Workspace, tmp_path: Path
) -> None:
    def adapter(name: str, seed: str) -> bytes:
        line = ["--max_train_steps", "5", "--seed", seed, "--training_comment", "run 7"]
        assert main(workspace.train_arguments("t2v-14B", tmp_path / name, *line), DATE) == 0
        return (tmp_path / name / "lora.safetensors").read_bytes()

    first = adapter("first", "1")

    assert adapter("again", "1") == first
    assert adapter("other", "2") != first


def test_a_fresh_adapter_changes_nothing(workspace: Workspace, tmp_path: Path) -> None:
    arguments = workspace.train_arguments("t2v-14B", tmp_path, "--max_train_steps", "1")

    assert main([*arguments, "--learning_rate", "1e-12", "--lr_scheduler", "constant"], DATE) == 0

    path = tmp_path / "lora.safetensors"
    header = tensor_file.read_header(path)
    ups = [name for name in header.tensors if name.endswith("lora_up.weight")]
    assert all(np.abs(tensor_file.floats(header, name)).max() < 1e-9 for name in ups)


def test_loraplus_moves_only_the_up_weights_faster(workspace: Workspace, tmp_path: Path) -> None:
    def moved(name: str, *more: str) -> tuple[float, float]:
        line = ["--max_train_steps", "1", "--seed", "1", "--lr_scheduler", "constant", *more]
        assert main(workspace.train_arguments("t2v-14B", tmp_path / name, *line), DATE) == 0
        header = tensor_file.read_header(tmp_path / name / "lora.safetensors")
        up, down = (
            np.concatenate(
                [tensor_file.floats(header, key).ravel() for key in header.tensors if part in key]
            )
            for part in ("lora_up", "lora_down")
        )
        return float(np.abs(up).mean()), float(np.abs(down).mean())

    plain = moved("plain")
    faster = moved("faster", "--network_args", "loraplus_lr_ratio=4")

    assert faster[0] == pytest.approx(4 * plain[0], rel=0.02)
    assert faster[1] == plain[1]


def test_an_unknown_network_argument_is_refused(
    workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["--max_train_steps", "1", "--network_args", "exclude_patterns=1"]

    assert main(workspace.train_arguments("t2v-14B", tmp_path, *line), DATE) != 0
    assert "has no --network_args exclude_patterns" in capsys.readouterr().err


@pytest.mark.parametrize(("task", "modules"), [("t2v-14B", 20), ("i2v-14B", 24), ("i2v-A14B", 20)])
def test_an_adapter_file_has_musubis_names_and_shapes(
    workspace: Workspace, tmp_path: Path, task: Task, modules: int
) -> None:
    assert main(workspace.train_arguments(task, tmp_path, "--max_train_steps", "1"), DATE) == 0

    tensors = tensor_file.read_header(tmp_path / "lora.safetensors").tensors
    clip = task == "i2v-14B"
    assert len(tensors) == 3 * modules == 3 * len(adapter_widths(clip=clip))
    assert {entry.dtype for entry in tensors.values()} == {"BF16"}
    assert tensors["lora_unet_blocks_0_self_attn_q.lora_down.weight"].shape == (4, 96)
    assert tensors["lora_unet_blocks_1_ffn_0.lora_up.weight"].shape == (192, 4)
    assert tensors["lora_unet_blocks_1_cross_attn_o.alpha"].shape == ()
    assert ("lora_unet_blocks_0_cross_attn_v_img.alpha" in tensors) is clip


def test_an_adapter_file_has_musubis_metadata(workspace: Workspace, tmp_path: Path) -> None:
    line = ["--max_train_epochs", "2", "--training_comment", "run 7 high"]
    assert main(workspace.train_arguments("t2v-14B", tmp_path, *line), DATE) == 0

    metadata = tensor_file.read_header(tmp_path / "lora.safetensors").metadata

    assert sorted(metadata) == sorted(MUSUBI_KEYS)
    assert metadata["ss_training_comment"] == "run 7 high"
    assert metadata["ss_network_dim"] == "4"
    assert metadata["ss_network_alpha"] == "4.0"
    assert metadata["ss_num_train_items"] == "9"
    assert (metadata["ss_steps"], metadata["ss_epoch"]) == ("18", "2")
    assert metadata["ss_sd_model_name"] == "t2v.safetensors"
    assert metadata["modelspec.date"] == "2026-01-01T00:00:00"
    images, videos = json.loads(metadata["ss_datasets"])
    assert images["image_directory"] == "images"
    assert videos["target_frames"] == [1, 9, 17]


def test_the_timestep_range_is_part_of_the_metadata(workspace: Workspace, tmp_path: Path) -> None:
    line = [*expert(8, "1e-4", "3", (875, 1000)), "--max_train_steps", "1"]
    assert main(workspace.train_arguments("t2v-A14B", tmp_path, *line), DATE) == 0

    metadata = tensor_file.read_header(tmp_path / "lora.safetensors").metadata

    assert metadata["modelspec.timestep_range"] == "875,1000"


def test_files_and_states_are_named_as_musubi_names_them(
    workspace: Workspace, tmp_path: Path
) -> None:
    line = ["--max_train_epochs", "3", "--save_every_n_epochs", "1", "--save_state"]

    events = observed(workspace.train_arguments("t2v-14B", tmp_path, *line), DATE)

    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "lora-000001-state",
        "lora-000001.safetensors",
        "lora-000002-state",
        "lora-000002.safetensors",
        "lora-state",
        "lora.safetensors",
    ]
    assert sorted(path.name for path in (tmp_path / "lora-state").iterdir()) == [
        "model.safetensors",
        "optimizer.bin",
        "random_states_0.pkl",
        "scheduler.bin",
        "training_state.json",
    ]
    saved = [event for event in events if isinstance(event, CheckpointSaved)]
    assert [(e.epoch, e.step, e.is_final) for e in saved] == [
        (1, 9, False),
        (2, 18, False),
        (3, 27, True),
    ]
    states = [event for event in events if isinstance(event, StateSaved)]
    assert [(e.epoch, e.step) for e in states] == [(n, 9 * n) for n in range(1, 4)]


def test_steps_are_counted_as_musubi_counts_them(workspace: Workspace, tmp_path: Path) -> None:
    line = ["--max_train_steps", "12"]

    events = observed(workspace.train_arguments("t2v-14B", tmp_path, *line), DATE)

    assert events[0] == TrainingStarted(
        step=0, total_steps=12, steps_per_epoch=9, epoch=0, total_epochs=2
    )
    assert [(e.epoch, e.step) for e in events if isinstance(e, EpochEnded)] == [(1, 9), (2, 12)]
    assert [path.name for path in tmp_path.iterdir()] == ["lora.safetensors"]


def test_an_adapter_can_be_trained_on(
    workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["--max_train_epochs", "4", "--learning_rate", "4e-4"]
    before = observed(workspace.train_arguments("t2v-14B", tmp_path / "a", *line), DATE)
    weights = str(tmp_path / "a" / "lora.safetensors")

    more = [*line, "--network_weights", weights]
    after = observed(workspace.train_arguments("t2v-14B", tmp_path / "b", *more), DATE)

    assert "<All keys matched successfully>" in capsys.readouterr().out
    assert mean(losses(after)[:9]) < 0.8 * mean(losses(before)[:9])
