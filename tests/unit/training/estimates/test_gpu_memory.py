"""Groups that a GPU cannot hold are refused before the run, with alternatives that fit."""

from pathlib import Path

import pytest

from bot.hosting.local import LocalInstallation
from bot.settings import Settings
from tests.specs import spec
from tests.unit.training.dataset.samples import clip, image, report
from training.catalogue.gpus import GPUS
from training.catalogue.models import MODELS, Model, find_model
from training.dataset.config.group import GroupPlan
from training.dataset.config.guide_groups import plan_groups
from training.dataset.config.user_toml import plan_user_toml
from training.errors import RequestError
from training.estimates.gpu_memory import needs, refuse_too_large
from training.runs.spec import TrainRequest, resolve_experts

SET = report(image(), clip(129))


def own(frames: int, resolution: str = "[1280, 720]", batch: int = 1) -> GroupPlan:
    return plan_user_toml(
        f"[[datasets]]\nvideo_directory = 'v'\nenable_bucket = true\nbatch_size = {batch}\n"
        f"resolution = {resolution}\ntarget_frames = [{frames}]",
        SET,
    ).plan


def refusal(model: str, plan: GroupPlan, gpu: str, *, is_own: bool = True) -> RequestError:
    with pytest.raises(RequestError) as raised:
        refuse_too_large(find_model(model), plan, gpu, has_toml=is_own)
    return raised.value


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_the_guides_groups_fit_the_guides_gpu(model: Model) -> None:
    groups = plan_groups(SET, model.resolution)

    refuse_too_large(model, groups, model.gpu, has_toml=False)

    found = needs(model, groups, model.gpu)
    assert [need.group for need in found] == list(groups.groups)
    assert all(0 < need.gib <= GPUS[model.gpu].memory_gib for need in found)


def test_the_measured_gpu_gives_the_measured_figure() -> None:
    """33 GB at 21,600 tokens with weights in fp8, on an H100."""
    (need,) = needs(find_model("wan21-t2v-14b"), own(21), "H100")

    assert need.tokens == 21_600
    assert need.gib * 2**30 / 1e9 == pytest.approx(33.0, abs=0.1)
    assert need.is_measured


@pytest.mark.parametrize(
    ("model", "settings", "gigabytes"),
    [
        ("wan21-t2v-14b", {"fp8": "no"}, 46),
        ("wan22-t2v-vanilla", {"fp8": "no"}, 52),
        ("wan22-t2v-vanilla", {"fp8": "no", "force_v2_1_time_embedding": "yes"}, 46),
        ("wan22-t2v-vanilla", {"force_v2_1_time_embedding": "yes"}, 33),
    ],
)
def test_settings_change_the_figure_as_measured(
    model: str, settings: dict[str, str], gigabytes: float
) -> None:
    request = TrainRequest(model=model, dataset="annika", settings=settings)
    chosen = [expert.settings for expert in resolve_experts(request, find_model(model))]

    (need,) = needs(find_model(model), own(21), "H100", chosen)

    assert need.gib * 2**30 / 1e9 == pytest.approx(gigabytes, abs=0.1)


def test_a_group_may_fit_only_with_fp8() -> None:
    chosen = [expert.settings for expert in spec("wan21-t2v-14b", fp8="no").experts]
    model = find_model("wan21-t2v-14b")

    refuse_too_large(model, own(21), "A100-40GB", has_toml=True)
    with pytest.raises(RequestError, match="needs about 43 GiB"):
        refuse_too_large(model, own(21), "A100-40GB", chosen, has_toml=True)


@pytest.mark.parametrize(
    ("model", "frames", "gpu"),
    [("wan21-t2v-14b", 21, "A100-80GB"), ("wan22-t2v-vanilla", 21, "H100"),
     ("wan21-t2v-1-3b", 21, "H100"), ("wan21-t2v-14b", 81, "H100")],
)  # fmt: skip
def test_unmeasured_needs_are_called_rough(model: str, frames: int, gpu: str) -> None:
    assert not needs(find_model(model), own(frames), gpu)[0].is_measured


def test_a_group_too_large_is_named_with_its_need_and_what_fits() -> None:
    error = refusal("wan22-i2v-vanilla", own(129), "A100-80GB")

    assert error.cause == (
        "The group 1-clips needs about 132 GiB (unmeasured, rough) at 129 frames of 1280 x 720, "
        "but an A100-80GB has 79 GiB."
    )
    assert error.fix == (
        "What fits: target_frames or max_frames of at most 69 or resolution = [832, 480]; "
        "or a larger GPU, such as an H200."
    )
    refuse_too_large(find_model("wan22-i2v-vanilla"), own(129), "H200", has_toml=True)
    refuse_too_large(find_model("wan22-i2v-vanilla"), own(69), "A100-80GB", has_toml=True)
    refuse_too_large(
        find_model("wan22-i2v-vanilla"), own(129, "[832, 480]"), "A100-80GB", has_toml=True
    )
    refusal("wan22-i2v-vanilla", own(73), "A100-80GB")


def test_options_of_the_run_are_named_where_there_is_no_toml() -> None:
    error = refusal("wan22-t2v-vanilla", plan_groups(SET), "A10", is_own=False)

    assert "clips-head" in error.cause
    frames = int(error.fix.partition("max-frames of at most ")[2].partition(" ")[0].rstrip(";"))
    fitting = plan_groups(SET, max_frames=frames)
    refuse_too_large(find_model("wan22-t2v-vanilla"), fitting, "A10", has_toml=False)
    with pytest.raises(RequestError):
        refuse_too_large(
            find_model("wan22-t2v-vanilla"), plan_groups(SET, max_frames=frames + 4), "A10",
            has_toml=False,
        )  # fmt: skip


def test_a_batch_multiplies_the_memory_of_a_step() -> None:
    one, four = (
        needs(find_model("wan21-t2v-14b"), own(21, batch=batch), "H200")[0].tokens
        for batch in (1, 4)
    )

    assert four == 4 * one


def test_no_larger_gpu_is_suggested_if_there_is_none() -> None:
    error = refusal("wan22-i2v-vanilla", own(129, batch=4), "H100")

    assert "larger GPU" not in error.fix
    assert error.fix.startswith("What fits: ")


def test_only_real_training_must_fit_the_chosen_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = find_model("wan21-t2v-14b")
    unnamed = LocalInstallation(Settings.read(tmp_path))
    monkeypatch.setenv("LORABOT_GPU", "H100")
    named = LocalInstallation(Settings.read(tmp_path))
    monkeypatch.setenv("LORABOT_GPU", "GTX")

    assert unnamed.runtime.gpu(model, "musubi") is None
    assert named.runtime.gpu(model, "rehearsal") is None
    assert named.runtime.gpu(model, "musubi") == named.runtime.only_gpu == "H100"
    assert unnamed.runtime.only_gpu is None
    with pytest.raises(RequestError, match="LORABOT_GPU cannot be 'GTX'"):
        Settings.read(tmp_path)
