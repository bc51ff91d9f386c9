import subprocess
import sys

import pytest

from training.errors import MergeError
from training.lora.keys import strip_prefix
from training.merge.planning.names import ModuleNames


def test_a_module_is_found_by_its_flat_name() -> None:
    modules = ModuleNames.of(["blocks.0.self_attn.q.weight", "blocks.0.modulation"])

    assert modules.find("blocks_0_self_attn_q") == "blocks.0.self_attn.q"
    assert modules.find("blocks_0_modulation") == "blocks.0.modulation"
    assert modules.find("blocks_1_self_attn_q") is None


def test_a_base_with_diffusers_names_is_found_by_wan_names() -> None:
    modules = ModuleNames.of(["blocks.0.attn1.to_out.0.weight"])

    assert modules.find("blocks_0_self_attn_o") == "blocks.0.attn1.to_out.0"


def test_a_flat_name_of_two_modules_finds_none() -> None:
    modules = ModuleNames.of(["blocks.0.attn.k_img.weight", "blocks.0.attn_k.img.weight"])

    assert modules.find("blocks_0_attn_k_img") is None


def test_a_base_with_a_module_twice_is_refused() -> None:
    with pytest.raises(MergeError, match="under two prefixes"):
        ModuleNames.of(["blocks.0.q.weight", "model.diffusion_model.blocks.0.q.weight"])


def test_the_name_under_which_the_base_stores_a_module_is_kept() -> None:
    modules = ModuleNames.of(["model.diffusion_model.blocks.0.q.weight"])

    assert modules.known == {"blocks.0.q": "model.diffusion_model.blocks.0.q"}
    assert strip_prefix("model.diffusion_model.blocks.0.q") == "blocks.0.q"


def test_planning_and_verifying_need_no_torch() -> None:
    code = "import training.merge.merge, sys; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
