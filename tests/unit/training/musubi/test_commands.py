"""musubi-tuner's command lines: only options and values that it takes, only weights that fit."""

from dataclasses import replace
from pathlib import Path

import pytest

from training.catalogue.models import MODELS, Expert, Model, find_model
from training.musubi.commands import (
    BaseFile,
    CacheLatents,
    CacheText,
    TrainNetwork,
    Weights,
    checked,
    known_options,
)
from training.musubi.launcher.trouble import TroubleWatch
from training.runs.hyperparameters import resolve_expert

HERE = Path("/w")
WEIGHTS = Weights(vae=HERE / "vae", t5=HERE / "t5", clip=HERE / "clip")
EVERY = [(model, expert) for model in MODELS for expert in model.experts]
ALL = pytest.mark.parametrize(
    ("model", "expert"), EVERY, ids=lambda value: getattr(value, "name", "")
)


def training(model: Model, expert: Expert, dit: BaseFile | None = None) -> TrainNetwork:
    return TrainNetwork(
        model=model,
        expert=expert,
        settings=resolve_expert(model, expert, {}),
        dit=dit or BaseFile(path=HERE / "dit.safetensors", weight=expert.dit),
        dataset_config=HERE / "dataset.toml",
        weights=WEIGHTS,
        output_dir=HERE / "out",
        output_name="lora",
        comment="{}",
        resume=HERE / "out/lora-000001-state",
    )


@ALL
def test_every_model_and_expert_has_its_commands(model: Model, expert: Expert) -> None:
    latents = CacheLatents(model=model, dataset_config=HERE / "d.toml", weights=WEIGHTS)
    text = CacheText(dataset_config=HERE / "d.toml", weights=WEIGHTS)

    for command in (latents, text, training(model, expert)):
        arguments = command.arguments()
        options = [argument for argument in arguments if argument.startswith("--")]
        assert len(options) == len(set(options))
        assert set(options) <= known_options()[command.script].keys()
    assert "--resume" in training(model, expert).arguments()


@ALL
def test_no_other_models_base_can_be_trained_on(model: Model, expert: Expert) -> None:
    others = {other.dit for _, other in EVERY} - {expert.dit}

    for weight in others:
        with pytest.raises(ValueError, match="is not what"):
            training(model, expert, BaseFile(path=HERE / "dit", weight=weight))


def test_an_expert_of_another_model_cannot_be_trained() -> None:
    model, other = find_model("wan22-t2v-vanilla"), find_model("wan22-i2v-vanilla")

    with pytest.raises(ValueError, match="is not what"):
        training(model, other.expert("low"))


def test_a_model_whose_task_is_not_that_of_its_weights_cannot_be_trained() -> None:
    wan22 = find_model("wan22-t2v-vanilla")
    mistaken = replace(wan22, task="t2v-14B")

    with pytest.raises(ValueError, match=r"wan2\.2_t2v_low_noise.* under the task t2v-14B"):
        training(mistaken, mistaken.expert("low"))


@pytest.mark.parametrize(
    "arguments",
    [
        ["--no_such_option"],
        ["--seed", "1", "--seed", "2"],
        ["--task", "t2v-15B"],
        ["--mixed_precision", "fp8"],
        ["--timestep_boundary", "0.875"],
        ["--learning_rate", "quick"],
        ["--sdpa", "yes"],
        ["--dit"],
        ["--dit", "a", "b"],
        ["--optimizer_args"],
    ],
    ids=" ".join,
)
def test_what_musubi_would_refuse_is_refused_here(arguments: list[str]) -> None:
    with pytest.raises(ValueError, match="wan_train_network"):
        checked("wan_train_network.py", arguments)


def test_what_musubi_takes_is_taken() -> None:
    arguments = ["--task", "t2v-14B", "--optimizer_args", "a=1", "b=2", "--learning_rate", "8e-05"]

    assert checked("wan_train_network.py", [*arguments, "--sdpa"])[-1] == "--sdpa"


def test_adafactor_takes_the_rate_and_the_schedule_that_are_asked_for() -> None:
    model = find_model("wan21-t2v-14b")
    command = training(model, model.expert("main"))
    given = resolve_expert(model, model.expert("main"), {"optimizer": "adafactor"})

    arguments = replace(command, settings=given).arguments()

    first = arguments.index("--optimizer_args") + 1
    assert arguments[first : first + 4] == (
        "weight_decay=0.01",
        "relative_step=False",
        "scale_parameter=False",
        "warmup_init=False",
    )


def test_troubles_are_seen_at_the_step_that_shows_them_and_said_once() -> None:
    watch = TroubleWatch(warmup_steps=2, total_steps=6)
    nan, zero = float("nan"), 0.0

    def never() -> bool:
        raise AssertionError("looked at weights that no step has changed yet")

    assert list(watch.look(1, 1.0, zero, never)) == []
    assert list(watch.look(2, 1.0, 0.1, None)) == []
    assert list(watch.look(3, float("inf"), 0.1, lambda: True)) == [
        "loss_not_finite",
        "adapter_unchanged",
    ]
    assert list(watch.look(4, nan, 0.1, lambda: True)) == []
    assert list(watch.look(5, 1.0, zero, lambda: False)) == ["learning_rate_zero"]
    assert list(watch.look(6, 1.0, zero, lambda: False)) == []
