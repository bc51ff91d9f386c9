"""A rehearsal refuses what musubi-tuner refuses before the first step, with the same messages."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.ml.rehearsal.workspace import Task, Workspace
from training.rehearsal.__main__ import main

_ADDED: list[tuple[Task, list[str], str]] = [
    (
        "t2v-14B",
        ["--mixed_precision", "fp16"],
        "AssertionError: DiT weights are in bf16, mixed precision must be bf16 or no",
    ),
    (
        "t2v-A14B",
        ["--mixed_precision", "bf16"],
        "AssertionError: DiT weights are in fp16, mixed precision must be fp16 or no",
    ),
    ("t2v-14B", ["--dit", "nope.safetensors"], "FileNotFoundError: [Errno 2] No such file"),
    ("t2v-14B", ["--dataset_config", "nope.toml"], "ValueError: file not found: nope.toml"),
    ("t2v-14B", ["--resume", "nowhere"], "ValueError: Tried to find nowhere but folder does not"),
    ("t2v-14B", ["--task", "i2v-14B"], "size mismatch for patch_embedding.weight"),
    ("i2v-14B", ["--task", "i2v-A14B"], "Unexpected key(s) in state_dict: "),
]


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(("task", "extra", "cause"), _ADDED)
def test_an_option_that_does_not_fit_is_refused(
    workspace: Workspace,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    task: Task,
    extra: list[str],
    cause: str,
) -> None:
    assert main(workspace.train_arguments(task, tmp_path / "out", *extra), {}) == 1

    assert cause in last_line(capsys)
    assert not (tmp_path / "out").exists()


def _cut_off(root: Path) -> None:
    path = next((root / "c").glob("*_wan.safetensors"))
    path.write_bytes(path.read_bytes()[:1000])


def _without_texts(root: Path) -> None:
    for path in (root / "c").glob("*_te.safetensors"):
        path.unlink()


@pytest.mark.parametrize(
    ("task", "damage", "cause"),
    [
        ("t2v-14B", _without_texts, "ValueError: No training items found in the dataset."),
        ("t2v-14B", _cut_off, "SafetensorError: Error while deserializing header"),
        ("i2v-14B", None, "KeyError: 'clip'"),
        ("i2v-A14B", None, "KeyError: 'latents_image'"),
    ],
)
def test_caches_of_another_task_are_refused(
    workspace: Workspace,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    task: Task,
    damage: Callable[[Path], None] | None,
    cause: str,
) -> None:
    root = workspace.root
    config = tmp_path / "plain.toml"
    config.write_text(
        f'[general]\ncaption_extension = ".txt"\n[[datasets]]\nresolution = [320, 192]\n'
        f'image_directory = "{root}/images"\ncache_directory = "{tmp_path}/c"\n'
    )
    line = ["--dataset_config", str(config)]
    flags = ["--i2v"] if task == "i2v-14B" else []
    vae = ["--vae", str(root / "vae.safetensors")]
    assert main(["wan_cache_latents.py", *line, *vae, *flags], {}) == 0
    t5 = ["--t5", str(root / "t5.pth")]
    assert main(["wan_cache_text_encoder_outputs.py", *line, *t5], {}) == 0
    if damage is not None:
        damage(tmp_path)

    code = main(workspace.train_arguments(task, tmp_path / "out", *line), {})

    assert code == 1
    assert cause in last_line(capsys)


def test_an_adapter_of_another_rank_is_refused(
    workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = workspace.train_arguments("t2v-14B", tmp_path, "--max_train_steps", "1")
    assert main(arguments, {}) == 0
    saved = str(tmp_path / "lora.safetensors")

    code = main([*arguments, "--network_dim", "8", "--network_weights", saved], {})

    assert code == 1
    assert "loading state_dict for LoRANetwork: size mismatch" in last_line(capsys)


def test_unequal_latents_in_a_batch_are_refused(
    workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "mixed.toml"
    text = workspace.config.read_text()
    text = text.replace("enable_bucket = true", "batch_size = 8").replace("1, 9, 18", "9")
    cache = tmp_path / "c"
    cache.mkdir()
    small = workspace.root / "cache-videos"
    for path in (workspace.root / "cache-images").iterdir():
        (cache / path.name).write_bytes(path.read_bytes())
    stem = small / "clip 0_00000-001_0192x0128_wan.safetensors"
    (cache / "odd_0192x0128_wan.safetensors").write_bytes(stem.read_bytes())
    (cache / "odd_wan_te.safetensors").write_bytes((cache / "0_wan_te.safetensors").read_bytes())
    config.write_text(text.replace(f"{workspace.root}/cache-images", str(cache)))

    extra = ["--dataset_config", str(config), "--max_train_epochs", "1"]
    code = main(workspace.train_arguments("t2v-14B", tmp_path, *extra), {})

    assert code == 1
    assert "RuntimeError: stack expects each tensor to be equal size" in last_line(capsys)
