"""The plan: stages in order, and every setting in the training command."""

from pathlib import Path

import pytest

from tests.specs import Rooted, groups, spec
from training import store_keys
from training.catalogue.models import MODELS, Model, find_model
from training.pipeline.plan import PlannedStage, Planner
from training.rehearsal.engine import RehearsalEngine
from training.rehearsal.options import read_options
from training.runs.spec import ExpertChoice

ROOT = Path("/home")
ALL = pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)


def stages(model: str, expert: ExpertChoice = "both", **settings: str) -> tuple[PlannedStage, ...]:
    run = spec(model, expert=expert, **settings)
    return Planner(run, find_model(run.model), groups(), RehearsalEngine(), Rooted(ROOT)).stages()


def train_argv(model: str, expert: str = "main", **settings: str) -> tuple[str, ...]:
    found = next(s for s in stages(model, "both", **settings) if str(s.key) == f"train-{expert}")
    return found.commands[0]


def value(argv: tuple[str, ...], option: str) -> str:
    return argv[argv.index(option) + 1]


def test_stages_come_after_those_that_they_need() -> None:
    found = stages("wan22-i2v-lightning")

    seen: set[str] = set()
    for stage in found:
        assert {str(need) for need in stage.needs} <= seen
        seen.add(str(stage.key))
    assert [str(stage.key) for stage in found] == [
        *("prepare", "fetch", "cache"),
        *("merge-high", "train-high", "publish-high"),
        *("merge-low", "train-low", "publish-low"),
    ]


@ALL
def test_only_caching_and_training_hold_a_gpu(model: Model) -> None:
    on_gpu = {stage.key.stage for stage in stages(model.name) if stage.device == "gpu"}

    assert on_gpu == {"cache", "train"}


@ALL
def test_every_option_exists_in_musubi_and_is_given_once(model: Model) -> None:
    for stage in stages(model.name):
        for command in stage.commands:
            if stage.key.stage == "merge":
                continue
            script = next(part for part in command if part.endswith(".py"))
            options = [part for part in command if part.startswith("--")]
            assert set(options) <= {option["name"] for option in read_options()[script]}
            assert len(options) == len(set(options))


@ALL
def test_task_precision_and_weights_are_those_of_one_model(model: Model) -> None:
    for expert in model.experts:
        argv = train_argv(model.name, expert.name)

        assert value(argv, "--task") == model.task
        assert value(argv, "--mixed_precision") == model.dtype
        stem = Path(expert.dit.file).stem
        assert Path(value(argv, "--dit")).stem.startswith(stem)
        assert tuple(part for part in argv if part.startswith("--fp8")) == model.fp8
        assert ("--clip" in argv) == model.clip
        assert ("--preserve_distribution_shape" in argv) == (expert.timesteps is not None)
        if expert.timesteps is not None:
            assert (value(argv, "--min_timestep"), value(argv, "--max_timestep")) == tuple(
                str(t) for t in expert.timesteps
            )


@ALL
def test_a_lightning_model_never_trains_on_the_vanilla_base(model: Model) -> None:
    for expert in model.experts:
        dit = Path(value(train_argv(model.name, expert.name), "--dit"))
        vanilla = ROOT / store_keys.weight("rehearsal", expert.dit)

        assert (dit == vanilla) == (model.speed_lora is None)


def test_both_cache_commands_carry_the_flags_of_the_guide() -> None:
    latents, text = next(s for s in stages("wan21-i2v-720p") if s.key.stage == "cache").commands

    assert {"--i2v", "--vae_cache_cpu"} <= set(latents)
    assert "--clip" in latents
    assert value(text, "--batch_size") == "16"
    assert "--fp8_t5" in text


def test_the_guides_constants_are_in_the_training_command() -> None:
    argv = train_argv("wan21-t2v-1-3b")

    assert {"--sdpa", "--gradient_checkpointing", "--persistent_data_loader_workers"} <= set(argv)
    assert value(argv, "--save_precision") == "bf16"
    assert value(argv, "--optimizer_args") == "weight_decay=0.01"
    assert value(argv, "--timestep_sampling") == "shift"
    assert value(argv, "--network_module") == "networks.lora_wan"
    assert value(argv, "--max_data_loader_n_workers") == "2"


@pytest.mark.parametrize(
    ("setting", "given", "option", "expected"),
    [
        ("learning_rate", "3e-4", "--learning_rate", "0.0003"),
        ("scheduler", "cosine", "--lr_scheduler", "cosine"),
        ("scheduler_power", "3", "--lr_scheduler_power", "3.0"),
        ("min_lr_ratio", "0.05", "--lr_scheduler_min_lr_ratio", "0.05"),
        ("optimizer", "adamw", "--optimizer_type", "adamw"),
        ("rank", "11", "--network_dim", "11"),
        ("alpha", "5.5", "--network_alpha", "5.5"),
        ("epochs", "9", "--max_train_epochs", "9"),
        ("save_every", "3", "--save_every_n_epochs", "3"),
        ("seed", "7", "--seed", "7"),
        ("flow_shift", "4.5", "--discrete_flow_shift", "4.5"),
    ],
)
def test_every_setting_reaches_the_command_of_its_expert(
    setting: str, given: str, option: str, expected: str
) -> None:
    low = train_argv("wan22-t2v-vanilla", "low", **{setting: f"low={given}"})
    high = train_argv("wan22-t2v-vanilla", "high", **{setting: f"low={given}"})
    untouched = train_argv("wan22-t2v-vanilla", "high")

    assert value(low, option) == expected
    assert value(high, option) == value(untouched, option)


@pytest.mark.parametrize(
    ("setting", "given", "expected"),
    [
        ("lightning_strength", "0.37", "0.37"),
        (
            "lightning_file",
            "low=other.safetensors",
            "lightx2v/Wan2.2-Lightning@18bccf8884ec/other.",
        ),
        ("lightning_file", "some/lora:one/a.safetensors", "some/lora/one/a.safetensors"),
        (
            "lightning_file",
            "low=https://huggingface.co/some/lora/blob/v2/one/a.safetensors",
            "some/lora@v2/one/a.safetensors",
        ),
    ],
)
def test_every_lightning_setting_reaches_the_merge(setting: str, given: str, expected: str) -> None:
    merge = next(
        s
        for s in stages("wan22-i2v-lightning", "both", **{setting: given})
        if str(s.key) == "merge-low"
    )

    assert expected in " ".join(merge.commands[0])


def test_the_polynomial_schedule_ends_where_the_ratio_says() -> None:
    argv = train_argv("wan21-t2v-14b", learning_rate="1e-4", min_lr_ratio="0.05")

    assert value(argv, "--lr_scheduler_args") == "lr_end=5e-06"


def test_expert_and_output_name_choose_the_trained_expert_and_its_files() -> None:
    found = stages("wan22-i2v-vanilla", expert="high")

    assert [str(s.key) for s in found if s.key.expert] == ["train-high", "publish-high"]
    argv = next(s for s in found if s.key.stage == "train").commands[0]
    assert value(argv, "--output_name") == "annika-wan22-i2v-vanilla-high"
