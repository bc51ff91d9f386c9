"""musubi-tuner's command lines: only valid options and values, only weights that fit."""

from dataclasses import replace
from itertools import product
from pathlib import Path, PureWindowsPath
from typing import cast, get_args

import numpy as np
import pytest

from training.catalogue.models import MODELS, Expert, Model, find_model
from training.musubi.commands import (
    BaseFile,
    CacheLatents,
    CacheText,
    TrainNetwork,
    Weights,
)
from training.musubi.launcher.hooks import FAST_OPTION
from training.rehearsal.loop.optimizer import AdamW
from training.rehearsal.loop.schedule import Schedule
from training.rehearsal.options import TRAIN, build_parser, check_supported, read_options
from training.runs.hyperparameters import Fast, Optimizer, Scheduler, resolve_expert

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
        assert set(options) <= {option["name"] for option in read_options()[command.script]}
        build_parser(command.script).parse_args(arguments)  # ends the test if musubi would refuse
    assert "--resume" in training(model, expert).arguments()


@ALL
def test_the_base_of_another_model_is_refused(model: Model, expert: Expert) -> None:
    others = {other.dit for _, other in EVERY} - {expert.dit}

    for weight in others:
        with pytest.raises(ValueError, match="is not the base"):
            training(model, expert, BaseFile(path=HERE / "dit", weight=weight))


def test_an_expert_of_another_model_cannot_be_trained() -> None:
    model, other = find_model("wan22-t2v-vanilla"), find_model("wan22-i2v-vanilla")

    with pytest.raises(ValueError, match="is not the base"):
        training(model, other.expert("low"))


def test_a_task_that_does_not_match_the_weights_is_refused() -> None:
    wan22 = find_model("wan22-t2v-vanilla")
    mistaken = replace(wan22, task="t2v-14B")

    with pytest.raises(ValueError, match=r"wan2\.2_t2v_low_noise.* for the task t2v-14B"):
        training(mistaken, mistaken.expert("low"))


@pytest.mark.parametrize(
    ("scheduler", "optimizer"), list(product(get_args(Scheduler), get_args(Optimizer)))
)
def test_musubi_and_the_rehearsal_accept_every_setting_of_a_user(
    scheduler: str, optimizer: str
) -> None:
    model = find_model("wan22-i2v-vanilla")
    given = {"scheduler": scheduler, "optimizer": optimizer, "blocks_to_swap": "3", "fp8": "yes"}
    settings = resolve_expert(model, model.expert("low"), {**given, "seed": "7", "alpha": "0.5"})
    command = replace(training(model, model.expert("low")), settings=settings)

    args = build_parser(TRAIN).parse_args(command.arguments())

    check_supported(TRAIN, args)
    assert (args.lr_scheduler, args.optimizer_type) == (scheduler, optimizer)
    assert Schedule(args, 10).rate(0) == pytest.approx(settings.learning_rate)
    assert AdamW(np.zeros(2, np.float32), args).description


@pytest.mark.parametrize("fast", get_args(Fast))
def test_compiled_steps_are_asked_of_the_launcher_and_nothing_else_changes(fast: str) -> None:
    model = find_model("wan22-i2v-vanilla")
    plain = training(model, model.expert("low"))
    settings = resolve_expert(model, model.expert("low"), {"fast": fast})

    found = replace(plain, settings=settings).arguments()

    asked = () if fast == "off" else (FAST_OPTION, fast)
    at = found.index(FAST_OPTION) if asked else len(found)
    assert found[at : at + 2] == asked
    assert (*found[:at], *found[at + 2 :]) == plain.arguments()
    check_supported(TRAIN, build_parser(TRAIN).parse_args(found))


def test_adafactor_uses_the_given_rate_and_schedule() -> None:
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


def test_quality_options_reach_the_trainer() -> None:
    model = find_model("wan22-t2v-vanilla")
    high = model.expert("high")
    given = {"loraplus_lr_ratio": "4"}
    command = replace(
        training(model, high), settings=resolve_expert(model, high, given, "reference")
    )

    arguments = command.arguments()

    assert arguments[arguments.index("--network_args") + 1] == "loraplus_lr_ratio=4.0"
    assert arguments[arguments.index("--discrete_flow_shift") + 1] == "12.0"
    assert arguments[arguments.index("--network_dim") + 1] == "32"
    assert "--force_v2_1_time_embedding" in arguments
    check_supported(TRAIN, build_parser(TRAIN).parse_args(arguments))
    plain = training(model, high).arguments()
    assert not {"--network_args", "--force_v2_1_time_embedding"} & set(plain)


def test_the_reference_preset_leaves_fp8_out_on_wan21() -> None:
    model = find_model("wan21-t2v-14b")
    main = model.expert("main")
    settings = resolve_expert(model, main, {}, "reference")

    assert "--fp8_base" in training(model, main).arguments()
    assert "--fp8_base" not in replace(training(model, main), settings=settings).arguments()


def test_paths_on_windows_are_shown_as_linux_reads_them() -> None:
    windows = PureWindowsPath("/mnt/lorabot")
    weights = Weights(vae=Path("/vae"), t5=cast("Path", windows / "t5.safetensors"), clip=None)

    command = CacheText(dataset_config=cast("Path", windows / "set.toml"), weights=weights)

    assert command.arguments()[:4] == (
        *("--dataset_config", "/mnt/lorabot/set.toml"),
        *("--t5", "/mnt/lorabot/t5.safetensors"),
    )
