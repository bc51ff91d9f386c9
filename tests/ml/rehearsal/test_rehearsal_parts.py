"""Learning rates, timesteps and the stand-ins for published weights."""

from pathlib import Path

import numpy as np
import pytest

from training.rehearsal import tensor_file
from training.rehearsal.loop.loss import TimestepSampler
from training.rehearsal.loop.schedule import Schedule
from training.rehearsal.model.shape import adapter_widths, tensor_shapes
from training.rehearsal.model.weights import write_weights
from training.rehearsal.options import TRAIN, build_parser


def schedule(*line: str, total: int = 100) -> Schedule:
    common = ["--learning_rate", "1e-3"]
    return Schedule(build_parser(TRAIN).parse_args([*common, *line]), total)


@pytest.mark.parametrize(
    ("line", "rates"),
    [
        (["--lr_scheduler", "constant"], {0: 1e-3, 50: 1e-3, 100: 1e-3}),
        (["--lr_scheduler", "linear"], {0: 1e-3, 25: 7.5e-4, 100: 0.0}),
        (["--lr_scheduler", "cosine"], {0: 1e-3, 50: 5e-4, 100: 0.0}),
        (
            ["--lr_scheduler", "polynomial", "--lr_scheduler_power", "2"],
            {0: 1e-3, 50: 0.25 * (1e-3 - 1e-7) + 1e-7, 100: 1e-7},
        ),
        (
            ["--lr_scheduler", "polynomial", "--lr_scheduler_args", "lr_end=1e-5"],
            {0: 1e-3, 100: 1e-5},
        ),
        (
            ["--lr_scheduler", "cosine_with_min_lr", "--lr_scheduler_min_lr_ratio", "0.1"],
            {0: 1e-3, 50: 5.5e-4, 100: 1e-4},
        ),
        (["--lr_scheduler", "cosine_with_restarts"], {0: 1e-3, 50: 5e-4, 100: 0.0}),
        (["--lr_scheduler", "rex"], {0: 1e-3, 100: 1e-5}),
        (
            ["--lr_scheduler", "rex", "--lr_scheduler_min_lr_ratio", "0.1"],
            {0: 1e-3, 50: 1e-3 * (0.1 + 0.9 * 0.5 / 0.55), 100: 1e-4},
        ),
    ],
)
def test_learning_rates_follow_the_schedule(line: list[str], rates: dict[int, float]) -> None:
    asked = schedule(*line)

    assert {step: asked.rate(step) for step in rates} == pytest.approx(rates)


def sampler(*line: str) -> TimestepSampler:
    args = build_parser(TRAIN).parse_args(
        ["--timestep_sampling", "shift", "--discrete_flow_shift", "3", *line]
    )
    return TimestepSampler.of(args)


def test_a_preserved_shape_rejects_samples_outside_the_range() -> None:
    line = ["--min_timestep", "875", "--max_timestep", "1000"]
    random = np.random.default_rng(0)

    kept = sampler(*line, "--preserve_distribution_shape").draw(4000, random)
    squeezed = sampler(*line).draw(4000, random)
    free = sampler().draw(40_000, random)

    # The distribution is cut off at the range, not squeezed into it.
    inside = free[free >= 0.875]
    assert kept.min() >= 0.875
    assert float(np.median(kept)) == pytest.approx(float(np.median(inside)), abs=0.002)
    assert float(np.median(squeezed)) == pytest.approx(0.875 + 0.125 * 0.75, abs=0.002)


@pytest.mark.parametrize("clip", [False, True])
def test_a_stand_in_is_a_small_wan_model(tmp_path: Path, clip: bool) -> None:
    path = tmp_path / "dit.safetensors"

    write_weights(path, role="dit", seed="a", in_channels=36, clip=clip, dtype="fp16")

    tensors = tensor_file.read_header(path).tensors
    assert {n: e.shape for n, e in tensors.items()} == tensor_shapes(36, clip=clip)
    assert {e.dtype for e in tensors.values()} == {"F16"}


def test_stand_ins_depend_only_on_their_arguments(tmp_path: Path) -> None:
    def written(name: str, seed: str) -> bytes:
        write_weights(tmp_path / name, role="dit", seed=seed)
        return (tmp_path / name).read_bytes()

    assert written("a", "one") == written("b", "one")
    assert written("a", "one") != written("c", "two")


def test_a_speed_lora_has_the_published_keys(tmp_path: Path) -> None:
    path = tmp_path / "lora.safetensors"

    write_weights(path, role="speed_lora", seed="a")

    header = tensor_file.read_header(path)
    assert {name.rpartition(".lora")[0] for name in header.tensors if ".lora_down" in name} == {
        f"diffusion_model.{module}" for module in adapter_widths(clip=False)
    }
    assert header.tensors["diffusion_model.blocks.0.ffn.2.alpha"].dtype == "I64"
    up = tensor_file.floats(header, "diffusion_model.blocks.0.ffn.2.lora_up.weight")
    assert 0 < np.abs(up).max() < 0.2
