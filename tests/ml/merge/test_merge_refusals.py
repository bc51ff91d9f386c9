import errno
import resource
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file  # pyright: ignore[reportUnknownVariableType]

from tests.ml.merge.merge_models import (
    Style,
    Tensors,
    adapter,
    base_model,
    request_in,
    save_sharded,
    write_inputs,
)
from training.errors import MergeError
from training.merge.merge import merge
from training.merge.planning.plan import plan_merge
from training.merge.request import MergeProgress

LORA = adapter().keys(Style())
KEYS = sorted(LORA)
PAIRS = [key for key in KEYS if not key.endswith(".alpha")]


def refusal(folder: Path, lora: Tensors | None = None, base: Tensors | None = None) -> MergeError:
    """Return the error of the merge, after checking that it left nothing behind."""
    write_inputs(folder, base, lora)
    with pytest.raises(MergeError) as caught:
        merge(request_in(folder))
    left = [path for path in folder.rglob("*") if path.is_file()]
    assert sorted(path.name for path in left) == ["base.safetensors", "lora.safetensors"]
    return caught.value


def drop(lora: Tensors, key: str) -> None:
    for part in ("lora_up.weight", "lora_down.weight", "alpha"):
        del lora[f"{key.rsplit('.lora_', 1)[0]}.{part}"]


def drop_half(lora: Tensors, key: str) -> None:
    del lora[key]


def drop_alpha(lora: Tensors, key: str) -> None:
    del lora[f"{key.rsplit('.lora_', 1)[0]}.alpha"]


def rename(lora: Tensors, key: str) -> None:
    lora[key.replace("blocks.", "blocks.7")] = lora.pop(key)


def transpose(lora: Tensors, key: str) -> None:
    lora[key] = lora[key].T.contiguous()


def duplicate(lora: Tensors, key: str) -> None:
    flat = key.removeprefix("diffusion_model.").split(".lora_")
    lora[f"lora_unet_{flat[0].replace('.', '_')}.lora_{flat[1]}"] = lora[key].clone()


def duplicate_in_another_style(lora: Tensors, key: str) -> None:
    lora[key.replace("lora_down", "lora_A").replace("lora_up", "lora_B")] = lora[key].clone()


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    key=st.sampled_from(PAIRS),
    damage=st.sampled_from(
        [drop, drop_half, drop_alpha, rename, transpose, duplicate, duplicate_in_another_style]
    ),
)
def test_damage_to_any_one_pair_stops_the_merge(
    tmp_path: Path, key: str, damage: Callable[[Tensors, str], None]
) -> None:
    lora = dict(LORA)
    damage(lora, key)
    write_inputs(tmp_path, lora=lora)

    with pytest.raises(MergeError):
        plan_merge(request_in(tmp_path))


@pytest.mark.parametrize(
    ("damage", "cause"),
    [
        (drop, "lora.safetensors does not change 1 of 8 layers"),
        (rename, "1 of 9 layers of lora.safetensors is not in the base"),
        (transpose, "1 of 8 layers has a LoRA pair of the wrong shape"),
        (duplicate, "lora.safetensors names 1 layer twice"),
    ],
)
def test_a_refused_lora_leaves_nothing_behind(
    tmp_path: Path, damage: Callable[[Tensors, str], None], cause: str
) -> None:
    lora = dict(LORA)
    damage(lora, PAIRS[0])

    error = refusal(tmp_path, lora)

    assert error.cause.startswith(cause)


def test_one_fitting_pair_of_many_is_refused(tmp_path: Path) -> None:
    fitting = {key: LORA[key] for key in KEYS if "blocks.0.ffn.0" in key}
    lost = {key.replace("blocks", "layers"): LORA[key] for key in KEYS if key not in fitting}

    error = refusal(tmp_path, fitting | lost)

    assert error.cause.startswith("7 of 8 layers of lora.safetensors are not in the base")
    assert "and 2 more" in error.cause


def test_the_layers_that_a_model_must_have_are_all_needed(tmp_path: Path) -> None:
    write_inputs(tmp_path, lora={key: LORA[key] for key in KEYS if "ffn" in key})
    expected = frozenset(adapter().pairs)

    with pytest.raises(MergeError, match=r"does not change 4 of 8 layers: .*self_attn"):
        plan_merge(replace(request_in(tmp_path), expected=expected))


def test_the_expected_number_of_layers_is_needed_exactly(tmp_path: Path) -> None:
    write_inputs(tmp_path)

    assert plan_merge(replace(request_in(tmp_path), expected_count=8)).layers == 8
    with pytest.raises(MergeError, match=r"changes 8 layers .* 400 must change"):
        plan_merge(replace(request_in(tmp_path), expected_count=400))


def test_an_expected_layer_that_the_base_lacks_is_named(tmp_path: Path) -> None:
    write_inputs(tmp_path)
    expected = frozenset({*adapter().pairs, "blocks.0.cross_attn.k_img"})

    with pytest.raises(MergeError, match=r"lacks 1 of the 9 .*: blocks.0.cross_attn.k_img"):
        plan_merge(replace(request_in(tmp_path), expected=expected))


@pytest.mark.parametrize(
    ("ending", "kind"),
    [
        ("dora_scale", "DoRA scales"),
        ("hada_w1_a", "LoHa"),
        ("lokr_w1", "LoKr"),
        ("lora_mid.weight", "Tucker"),
        ("weight", "unknown kind"),
    ],
)
def test_kinds_that_cannot_be_applied_are_refused_by_name(
    tmp_path: Path, ending: str, kind: str
) -> None:
    key = f"diffusion_model.blocks.0.ffn.0.{ending}"

    error = refusal(tmp_path, LORA | {key: torch.ones(3)})

    assert kind in error.cause
    assert key in error.cause


def test_a_file_without_lora_keys_is_refused_as_not_a_lora(tmp_path: Path) -> None:
    error = refusal(tmp_path, base_model())

    assert error.cause.startswith("lora.safetensors is not a LoRA")
    assert "may be swapped" in error.fix


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_nan_values_are_found_by_name(tmp_path: Path, value: float) -> None:
    bad = LORA[PAIRS[3]].clone()
    bad[0, 0] = value

    error = refusal(tmp_path, LORA | {PAIRS[3]: bad})

    assert error.cause.startswith("lora.safetensors has NaN or infinite values in 1 tensor")
    assert PAIRS[3] in error.cause


def test_a_result_that_fp16_cannot_hold_stops_the_merge(tmp_path: Path) -> None:
    error = refusal(tmp_path, LORA | {PAIRS[0]: LORA[PAIRS[0]] * 1e8})

    assert "NaN or infinite values in F16" in error.cause


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize(
    "name", ["blocks.1.ffn.0.weight", "blocks.1.ffn.0.bias", "patch_embedding.weight"]
)
def test_a_base_with_a_value_that_is_no_number_stops_the_merge(
    tmp_path: Path, name: str, value: float, dtype: torch.dtype
) -> None:
    base = base_model(dtype=dtype)
    base[name].view(-1)[-1] = value

    error = refusal(tmp_path, base=base)

    assert name in error.cause
    assert "NaN or infinite" in error.cause
    assert "SHA-256" in error.fix


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_an_fp8_base_is_refused_with_the_reason(tmp_path: Path, dtype: torch.dtype) -> None:
    base = base_model()
    base["blocks.0.ffn.0.weight"] = base["blocks.0.ffn.0.weight"].to(dtype)

    assert "fp8" in refusal(tmp_path, base=base).cause


def test_an_fp8_lora_is_refused(tmp_path: Path) -> None:
    lora = {
        key: t if key.endswith("alpha") else t.to(torch.float8_e4m3fn) for key, t in LORA.items()
    }

    assert "not floats of 16 bits or more" in refusal(tmp_path, lora).cause


@pytest.mark.parametrize(
    "alpha", [torch.tensor(0), torch.tensor(-4), torch.tensor(torch.nan), torch.ones(4)]
)
def test_an_unusable_alpha_is_refused(tmp_path: Path, alpha: torch.Tensor) -> None:
    assert refusal(tmp_path, LORA | {KEYS[0]: alpha}).cause


def test_an_untrained_lora_is_refused(tmp_path: Path) -> None:
    lora = {k: torch.zeros_like(t) if "lora_up" in k else t for k, t in LORA.items()}

    assert "changes nothing" in refusal(tmp_path, lora).cause


@pytest.mark.parametrize("strength", [0.0, torch.nan, torch.inf])
def test_a_meaningless_strength_is_refused(tmp_path: Path, strength: float) -> None:
    write_inputs(tmp_path)

    with pytest.raises(MergeError, match="strength"):
        plan_merge(replace(request_in(tmp_path), strength=strength))


def test_a_truncated_base_is_refused(tmp_path: Path) -> None:
    write_inputs(tmp_path)
    request = request_in(tmp_path)
    request.base.write_bytes(request.base.read_bytes()[:-1])

    with pytest.raises(MergeError, match="not a complete safetensors file"):
        plan_merge(request)


def test_an_index_that_disagrees_with_its_files_is_refused(tmp_path: Path) -> None:
    write_inputs(tmp_path)
    index = save_sharded(base_model(), tmp_path, 2)
    save_file({"head.head.bias": torch.ones(1)}, next(tmp_path.glob("model-00002*")))

    with pytest.raises(MergeError, match="disagree"):
        plan_merge(replace(request_in(tmp_path), base=index))


def test_a_base_that_changes_during_the_merge_gives_no_output(tmp_path: Path) -> None:
    write_inputs(tmp_path)
    request = request_in(tmp_path)

    def disturb(progress: MergeProgress) -> None:
        with request.base.open("ab") as file:
            file.write(b"x")

    with pytest.raises(MergeError, match="changed during the merge"):
        merge(request, on_progress=disturb)
    assert list(request.output.parent.iterdir()) == []


@contextmanager
def largest_file(size_bytes: int) -> Generator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_gives_no_output(tmp_path: Path) -> None:
    write_inputs(tmp_path)
    request = request_in(tmp_path)

    with largest_file(4_096), pytest.raises(MergeError) as caught:
        merge(request)

    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.EFBIG
    assert list(request.output.parent.iterdir()) == []
