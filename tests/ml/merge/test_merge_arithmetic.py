from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file  # pyright: ignore[reportUnknownVariableType]
from torch import Tensor

from tests.examples import examples
from tests.ml.merge.merge_models import (
    Adapter,
    Style,
    Tensors,
    adapter,
    base_model,
    in_fp32,
    in_fp64,
    load,
    request_in,
    save_sharded,
    write_inputs,
)
from training.merge.merge import merge, verify
from training.merge.request import MergeRequest

STYLES = st.builds(
    Style,
    prefix=st.sampled_from(
        ["diffusion_model.", "model.diffusion_model.", "transformer.", "lora_unet_", ""]
    ),
    down=st.just("lora_down"),
    up=st.just("lora_up"),
    alpha=st.sampled_from(
        [
            *(torch.int64, torch.int32, torch.int16, torch.uint8, torch.uint16, torch.uint64),
            *(torch.float16, torch.bfloat16, torch.float64),
        ]
    ),
) | st.builds(
    Style,
    prefix=st.sampled_from(["diffusion_model.", "transformer.", ""]),
    down=st.just("lora_A"),
    up=st.just("lora_B"),
    alpha=st.sampled_from([None, torch.float32]),
)
HALVES = [torch.bfloat16, torch.float16]


def units_off(found: Tensor, exact: Tensor, larger: Tensor) -> float:
    """Return the largest error in units in the last place of the larger operand."""
    info = torch.finfo(found.dtype)
    _, exponents = torch.frexp(torch.maximum(exact.abs(), larger.double().abs()))
    ulp = torch.ldexp(torch.ones_like(exact), exponents - 1).clamp(min=info.smallest_normal)
    return float(((found.double() - exact).abs() / (ulp * info.eps)).max())


@settings(max_examples=examples(40), deadline=None)
@given(
    style=STYLES,
    dtypes=st.tuples(*[st.sampled_from([*HALVES, torch.float32])] * 2),
    rank=st.integers(1, 9),
    shards=st.integers(1, 4),
    strength=st.sampled_from([1.0, 0.5, -0.7, 1.3]),
    base_prefix=st.sampled_from(["", "model.diffusion_model.", "diffusion_model."]),
)
def test_any_style_dtype_and_layout_is_within_one_unit_of_the_exact_merge(
    style: Style,
    dtypes: tuple[torch.dtype, torch.dtype],
    rank: int,
    shards: int,
    strength: float,
    base_prefix: str,
) -> None:
    dtype, dtype_of_lora = dtypes
    base = base_model(dtype=dtype, prefix=base_prefix)
    lora = adapter(rank=rank, dtype=dtype_of_lora)
    with TemporaryDirectory() as name:
        folder = Path(name)
        save_file(lora.keys(style), folder / "lora.safetensors")
        if shards == 1:
            save_file(base, folder / "base.safetensors")
        path = save_sharded(base, folder, shards) if shards > 1 else folder / "base.safetensors"
        request = MergeRequest(
            base=path, lora=folder / "lora.safetensors", output=folder / "o", strength=strength
        )

        receipt = merge(request, workers=2)

        verify(request.output, receipt)
        found = load(request.output)
    exact = in_fp64(base, lora, strength, base_prefix)
    limit = 4 if dtype == torch.float32 else 1
    assert receipt.layers_merged == receipt.layers_expected == len(exact)
    assert all(units_off(found[key], exact[key], base[key]) <= limit for key in exact)
    assert all(torch.equal(found[key], base[key]) for key in base.keys() - exact.keys())


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("factor", [1.0, 0.3, 0.125])
def test_many_blocks_of_rows_equal_the_merge_of_whole_matrices_bit_by_bit(
    tmp_path: Path, dtype: torch.dtype, factor: float
) -> None:
    # Whole blocks plus 65 rows, whole blocks plus a single row, and a matrix of odd sizes.
    shapes = {"blocks.0.q": (321, 5_120), "blocks.0.k": (257, 5_120), "blocks.0.v": (1777, 901)}
    random = torch.Generator().manual_seed(1)
    base = {
        f"{module}.weight": (torch.randn(shape, generator=random) * 0.02).to(dtype)
        for module, shape in shapes.items()
    }
    pairs = {
        module: (torch.randn(out, 64, generator=random), torch.randn(64, into, generator=random))
        for module, (out, into) in shapes.items()
    }
    lora = Adapter(pairs, factor)
    write_inputs(tmp_path, base, lora.keys(Style(alpha=torch.float64)))

    merge(request_in(tmp_path))

    found, whole = load(request_in(tmp_path).output), in_fp32(base, lora)
    assert all(torch.equal(found[key], whole[key]) for key in base)


def test_the_output_has_the_header_and_order_of_the_base(tmp_path: Path) -> None:
    write_inputs(tmp_path)
    request = request_in(tmp_path)

    merge(request)

    before, after = request.base.read_bytes(), request.output.read_bytes()
    start = 8 + int.from_bytes(before[:8], "little")
    assert after[:start] == before[:start]
    assert len(after) == len(before)


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_the_number_of_threads_does_not_change_a_byte(tmp_path: Path, workers: int) -> None:
    write_inputs(tmp_path)
    first = request_in(tmp_path)
    second = replace(first, output=tmp_path / "second")

    merge(first, workers=3)
    merge(second, workers=workers)

    assert first.output.read_bytes() == second.output.read_bytes()


def test_the_callers_thread_count_is_unchanged(tmp_path: Path) -> None:
    write_inputs(tmp_path)
    before = torch.get_num_threads()

    merge(request_in(tmp_path))

    assert torch.get_num_threads() == before


def test_differences_of_weights_and_biases_are_added(tmp_path: Path) -> None:
    base = base_model(dtype=torch.float32)
    lora = adapter().keys(Style())
    differences: Tensors = {
        "blocks.0.norm3.weight": torch.full((24,), 0.5),
        "blocks.1.self_attn.q.bias": torch.full((24,), -0.25),
        "head.head.weight": torch.ones(16, 24),
    }
    lora["diffusion_model.blocks.0.norm3.diff"] = differences["blocks.0.norm3.weight"]
    lora["diffusion_model.blocks.1.self_attn.q.diff_b"] = differences["blocks.1.self_attn.q.bias"]
    lora["diffusion_model.head.head.diff"] = differences["head.head.weight"]
    write_inputs(tmp_path, base, lora)

    receipt = merge(request_in(tmp_path))

    found = load(request_in(tmp_path).output)
    for name, difference in differences.items():
        assert torch.equal(found[name], base[name] + difference)
    assert receipt.layers_merged == len(adapter().pairs) + 1
    assert receipt.largest_change == 1.0  # for every value
    assert receipt.largest_change_layer == "head.head.weight"


def test_a_pair_of_the_patch_embedding_is_a_product_of_its_flattened_kernels(
    tmp_path: Path,
) -> None:
    base = base_model(dtype=torch.float32)
    up, down = torch.randn(24, 3, 1, 1, 1), torch.randn(3, 4, 1, 2, 2)
    lora = adapter().keys(Style())
    lora["diffusion_model.patch_embedding.lora_up.weight"] = up
    lora["diffusion_model.patch_embedding.lora_down.weight"] = down
    lora["diffusion_model.patch_embedding.alpha"] = torch.tensor(3)
    write_inputs(tmp_path, base, lora)

    merge(request_in(tmp_path))

    name = "patch_embedding.weight"
    exact = base[name].double() + torch.einsum(
        "or,rcthw->octhw", up[:, :, 0, 0, 0].double(), down.double()
    )
    assert units_off(load(request_in(tmp_path).output)[name], exact, base[name]) <= 1
