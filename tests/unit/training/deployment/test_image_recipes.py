"""Images can import everything that the code in them imports, read from the source."""

import ast
import importlib.util
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import get_args

import pytest

from training.deployment.code_version import BOT_CODE
from training.deployment.image_pins import MUSUBI_PYTHON, MUSUBI_SYSTEM
from training.deployment.image_recipes import (
    MODULES,
    MUSUBI_CHECK,
    MUSUBI_CUDA_CHECK,
    MUSUBI_MODULES,
    RECIPES,
    TORCH_MODULES,
    ImageName,
    command,
    images_of,
)
from training.musubi.commands import Script

ROOT = Path(__file__).parents[4]
LAUNCHER = ROOT / "training/musubi/launcher"
NO_TORCH: list[ImageName] = [name for name, recipe in RECIPES.items() if not recipe.torch]


def test_containers_import_every_module_that_their_code_imports() -> None:
    found = all_foreign()

    with_torch = {name for name in found if name.split(".")[0] == "torch"}
    assert found - with_torch - set(MODULES) == set()
    assert with_torch - {*TORCH_MODULES, *MUSUBI_MODULES} == set()


def test_every_listed_module_is_imported_somewhere() -> None:
    found = all_foreign()

    assert {*MODULES, *TORCH_MODULES} - found == set()


def test_the_trainers_environment_imports_its_scripts_and_what_the_launcher_hooks_into() -> None:
    scripts = {f"musubi_tuner.{name.removesuffix('.py')}" for name in get_args(Script)}
    hooked = {
        name
        for path in LAUNCHER.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant)
        and isinstance(name := node.value, str)
        and name.startswith("musubi_tuner.")
    }
    brought = {name for name in foreign(LAUNCHER) if name.split(".")[0] in ("av", "numpy")}
    added = {"musubi_tuner.cache_latents", "musubi_tuner.cache_text_encoder_outputs"}

    # The two added ones are what the caching scripts themselves import.
    assert (scripts | hooked | brought) - {*MUSUBI_MODULES} == added
    assert {"cv2", "bitsandbytes", "musubi_tuner.networks.lora_wan"} <= {*MUSUBI_MODULES}


def test_a_build_step_imports_the_faster_attention_kernel_where_torch_has_cuda() -> None:
    assert "import flash_attn.cute.interface" in MUSUBI_CUDA_CHECK
    assert "flash_attn" not in MUSUBI_CHECK


def test_the_trainers_image_has_what_opencv_links_to() -> None:
    assert {"libgl1", "libglib2.0-0"} <= set(MUSUBI_SYSTEM) & set(RECIPES["gpu"].system)


def test_a_build_step_notices_each_missing_package_of_debian_that_imports_do_not_need() -> None:
    tools, libraries = {"git"}, {"libgl1", "libglib2.0-0"}  # the libraries are those of cv2

    for package in {*MUSUBI_SYSTEM} - tools - libraries:
        assert f"which('{package}')" in MUSUBI_CHECK


@pytest.mark.parametrize("name", [*RECIPES])
def test_the_shell_passes_each_check_unchanged_to_its_interpreter(name: ImageName) -> None:
    for python, program in RECIPES[name].checks:
        assert shlex.split(command(python, program)) == [python, "-c", program]
        assert not set(program) & set('"$`\\!')
        compile(program, "check", "exec")


def test_only_the_build_step_of_the_image_itself_looks_for_cuda() -> None:
    interpreters = dict(RECIPES["gpu"].checks)

    assert interpreters[MUSUBI_PYTHON] == MUSUBI_CUDA_CHECK
    assert MUSUBI_CUDA_CHECK.startswith(f"{MUSUBI_CHECK}; ")
    assert "cudnn" in MUSUBI_CUDA_CHECK
    assert "cudnn" not in MUSUBI_CHECK


@pytest.mark.parametrize("program", {RECIPES[name].program for name in (*NO_TORCH, "merge")})
def test_the_checks_of_containers_run_here(program: str) -> None:
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_a_deployment_for_rehearsals_needs_no_image_for_gpus() -> None:
    assert images_of("musubi") == ("stage", "merge", "gpu", "bot")
    assert images_of("rehearsal") == ("stage", "merge", "bot")


def all_foreign() -> set[str]:
    return {name for package in BOT_CODE for name in foreign(ROOT / package)}


@cache
def foreign(folder: Path) -> set[str]:
    """Return the modules of other projects that the files below a folder import."""
    return {
        name
        for path in folder.rglob("*.py")
        for name in _imported(path)
        if name.split(".")[0] not in {*sys.stdlib_module_names, *BOT_CODE, "tests"}
    }


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            inside = [
                f"{node.module}.{alias.name}"
                for alias in node.names
                if _is_module(f"{node.module}.{alias.name}")
            ]
            yield from inside or [node.module]


def _is_module(name: str) -> bool:
    # Looking for a module imports its parents, which takes seconds for torch.
    if name.split(".")[0] in {*sys.stdlib_module_names, *BOT_CODE, "torch"}:
        return False
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # its parent is a module and no package
        return False
