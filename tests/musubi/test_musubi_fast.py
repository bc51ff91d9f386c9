"""The compiled forward of Wan's blocks against musubi-tuner's own, on the real `WanModel`."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.musubi, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    return told_by("compare_blocks.py")


@pytest.fixture(scope="module")
def session() -> dict[str, Any]:
    return told_by("run_session.py")


def told_by(name: str) -> dict[str, Any]:
    folder = os.environ.get("LORABOT_MUSUBI_DIR")
    if not folder:
        pytest.skip("LORABOT_MUSUBI_DIR names no musubi-tuner checkout")
    python = os.environ.get("LORABOT_MUSUBI_PYTHON", f"{folder}/.venv/bin/python")
    script = Path(__file__).with_name(name)
    told = subprocess.run([python, script, folder], check=True, capture_output=True, text=True)
    return json.loads(told.stdout.splitlines()[-1])


@pytest.mark.parametrize("family", ["2.1-t2v", "2.1-i2v", "2.2-t2v", "2.2-i2v"])
def test_outputs_and_gradients_are_those_of_musubi(found: dict[str, Any], family: str) -> None:
    distances = found["families"][family]

    assert distances["output"] < 1e-6
    assert distances["input_gradient"] < 2e-6
    assert distances["worst_adapter"] < 2e-4
    assert distances["detached"] == 0.0


def test_an_error_in_one_block_is_far_above_that(found: dict[str, Any]) -> None:
    assert found["planted"]["output"] > 1e-4
    assert found["planted"]["worst_adapter"] > 1e-2


def test_blocks_share_one_graph_that_recomputes_what_it_says(found: dict[str, Any]) -> None:
    # Self-attention, text and first frame; both blocks run in one forward and one backward graph.
    attention, products = found["graphs"]["attention"], found["graphs"]["products"]

    assert attention == {"attention": [3, 0], "ffn": [3, 0], "everything": [3, 0]}
    assert products == {"attention": [12, 11], "ffn": [12, 10], "everything": [12, 0]}


def test_what_only_musubi_computes_is_refused(found: dict[str, Any]) -> None:
    assert found["refused"] == [
        "nothing",
        "blocks are swapped to the CPU",
        "adapters are trained with dropout",
    ]


def test_steps_of_a_session_are_those_of_musubi(session: dict[str, Any]) -> None:
    plain = session["plain"]

    assert plain["farthest"] < 2e-4
    assert plain["told"] == []
    assert plain["record"] == "16bit torch"
    assert plain["random"]
    assert plain["saved"] == 1


def test_adapters_are_as_before_the_check(session: dict[str, Any]) -> None:
    assert session["asleep"]["asleep"]
    assert session["asleep"]["farthest"] < 2e-4


@pytest.mark.parametrize(
    ("planted", "reason"),
    [
        ("wrong", "block 1: its check failed, "),
        ("broken", "block 0: RuntimeError: no compiler"),
        ("full always", "the GPU's memory is too small, even if blocks keep as little as they can"),
    ],
)
def test_what_cannot_be_compiled_is_said_and_computed_by_musubi(
    session: dict[str, Any], planted: str, reason: str
) -> None:
    found = session[planted]

    assert len(found["told"]) == 1
    assert found["told"][0].startswith(reason)
    assert found["record"] == f"off: {found['told'][0]}"
    assert found["farthest"] < 2e-4
    assert not found["embeds_once"]  # as musubi-tuner had it


@pytest.mark.parametrize("planted", ["full once", "full backward"])
def test_a_step_that_runs_out_of_memory_is_repeated_with_less(
    session: dict[str, Any], planted: str
) -> None:
    found = session[planted]

    assert found["told"] == []
    assert found["plan"].startswith("1 blocks keep ffn, 1 keep everything")
    assert found["farthest"] < 2e-4


def test_a_resumed_training_stays_uncompiled(session: dict[str, Any]) -> None:
    reason = "block 3: its check failed"

    assert session["resumed"] == [reason, f"off: {reason}"]


def test_fp8_needs_a_gpu_with_such_products(session: dict[str, Any]) -> None:
    assert session["fp8 session"] == [
        "this GPU cannot compute fp8 products; an H100 or an L40S can"
    ]


def test_the_other_attention_kernel_is_kept_and_differentiated(session: dict[str, Any]) -> None:
    assert session["flash4"]["farthest"] < 2e-4
    assert session["flash4"]["counts"] == [[1, 0], [0, 1]]


def test_one_graph_serves_many_numbers_of_tokens(session: dict[str, Any]) -> None:
    assert session["dynamic"] == {"graphs": 2}  # forward and backward


def test_fp8_products_are_compared_with_16_bit_weights(session: dict[str, Any]) -> None:
    # The criterion is for Wan's widths; in 96 channels, single adapters exceed it.
    right, wrong = session["fp8"]["shares"]

    assert session["fp8"]["times"] == 1.5
    assert right < 3 < 10 < wrong


def test_narrow_weights_are_converted_once_for_all_steps(session: dict[str, Any]) -> None:
    wide = session["wide"]

    assert wide["told"] == []
    assert wide["plan"].endswith("with 16-bit copies of the weights")
    assert wide["farthest"] < 2e-4
    assert wide["copies"] == [20, 0]


def test_a_check_does_not_depend_on_what_adapters_have_learned(session: dict[str, Any]) -> None:
    new, trained = session["trained"]

    assert trained == new
