"""Images install exact versions that fit the project's requirements."""

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from training.deployment.image_pins import (
    INDIRECT,
    MUSUBI_BUILD,
    MUSUBI_COMMANDS,
    MUSUBI_EXTRA,
    MUSUBI_PACKAGES,
    PACKAGES,
    PYTHON,
    TORCH,
    TORCH_NEEDS,
    UV,
)
from training.musubi.launcher.hooks import MUSUBI_COMMIT

ROOT = Path(__file__).parents[4]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
MUSUBI = tomllib.loads((ROOT / "tests/data/musubi-requirements.toml").read_text("utf-8"))
CONTAINER = {"python_version": PYTHON, "platform_system": "Linux", "sys_platform": "linux"}
PINNED = re.compile(r"[A-Za-z0-9._-]+==[0-9][0-9a-z.+]*")


def pins(packages: tuple[str, ...]) -> dict[str, str]:
    found = (package.split("==") for package in packages)
    return {canonicalize_name(name): version for name, version in found}


def needed(*packages: str) -> dict[str, list[Requirement]]:
    """Return all dependencies of these packages, as installed here, with the packages that ask."""
    found: dict[str, list[Requirement]] = {}
    waiting = [Requirement(package) for package in packages]
    while waiting:
        asked = waiting.pop()
        for text in metadata.requires(asked.name) or ():
            wanted = Requirement(text)
            extras = asked.extras or {""}
            if wanted.marker is not None and not any(
                wanted.marker.evaluate({**CONTAINER, "extra": extra}) for extra in extras
            ):
                continue
            by = found.setdefault(canonicalize_name(wanted.name), [])
            if str(wanted) not in map(str, by):
                by.append(wanted)
                waiting.append(wanted)
    return found


@pytest.mark.parametrize(
    ("direct", "indirect"),
    [(PACKAGES, INDIRECT), ((TORCH, *PACKAGES), (*INDIRECT, *TORCH_NEEDS))],
)
def test_indirect_dependencies_are_pinned_to_versions_that_fit(
    direct: tuple[str, ...], indirect: tuple[str, ...]
) -> None:
    pinned, wanted = pins((*direct, *indirect)), needed(*direct)

    assert set(wanted) - set(pinned) == set()
    assert set(pins(indirect)) - set(wanted) == set()
    for name, requirements in wanted.items():
        assert all(its.specifier.contains(pinned[name], prereleases=True) for its in requirements)


def test_everything_is_pinned() -> None:
    further = (*INDIRECT, *TORCH_NEEDS, *MUSUBI_BUILD, f"uv=={UV}")
    for package in (*PACKAGES, TORCH, *MUSUBI_PACKAGES, *further):
        assert PINNED.fullmatch(package)
    assert any(f"git checkout {MUSUBI_COMMIT}" in command for command in MUSUBI_COMMANDS)


def test_the_pins_fit_the_projects_dependencies() -> None:
    wanted = [Requirement(text) for text in PROJECT["project"]["dependencies"]]
    pinned = pins(PACKAGES)

    assert set(pinned) == {canonicalize_name(requirement.name) for requirement in wanted}
    for requirement in wanted:
        assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)])


def test_no_image_of_the_bot_has_torch() -> None:
    assert "torch" not in pins(PACKAGES)
    assert TORCH in PROJECT["project"]["optional-dependencies"]["local"]


def test_the_trainers_torch_brings_a_cudnn_with_fast_3d_convolutions() -> None:
    pinned = pins(MUSUBI_PACKAGES)

    assert (pinned["torch"], pinned["torchvision"], MUSUBI_EXTRA) == ("2.11.0", "0.26.0", "cu130")
    assert pinned["bitsandbytes"] == "0.49.2"  # the first digits with a library for CUDA 13.0: 0.48


def test_the_trainer_has_the_measured_attention_kernel_for_its_cuda() -> None:
    pinned = pins(MUSUBI_PACKAGES)

    assert pinned["flash-attn-4"] == "4.0.0b36"
    libraries = {name for name in pinned if name.startswith("nvidia-cutlass-dsl")}
    assert "nvidia-cutlass-dsl-libs-cu13" in libraries
    assert {pinned[name] for name in libraries} == {"4.8.1"}


def test_the_pins_fit_what_musubi_requires_and_leave_nothing_open() -> None:
    required = [Requirement(text) for text in (*MUSUBI["dependencies"], *MUSUBI[MUSUBI_EXTRA])]
    pinned = pins(MUSUBI_PACKAGES)

    for its in required:
        version = pinned.get(canonicalize_name(its.name))
        if version is None:
            assert str(its.specifier).startswith("=="), f"{its} is pinned by nobody"
        else:
            assert its.specifier.contains(version), f"{its} does not allow {version}"
    assert SpecifierSet(MUSUBI["requires-python"]).contains(PYTHON)
    # The stages decode with another PyAV, in an environment of their own.
    assert "av==14.0.1" in map(str, required)
    assert "av" not in pinned
