"""What musubi-tuner needs in its environment, compared with what the image pins."""

import json
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.musubi.checkout import Checkout
from training.deployment.image_pins import MUSUBI_EXTRA, MUSUBI_PACKAGES

REQUIREMENTS = Path(__file__).parents[1] / "data/musubi-requirements.toml"
_PROBE = """
import json
from importlib.metadata import distributions
print(json.dumps({its.metadata["Name"]: [its.version, its.requires] for its in distributions()}))
"""
_PLATFORM = {"extra": "", "platform_system": "Linux", "python_version": "3.11"}


@pytest.fixture(scope="module")
def installed(checkout: Checkout) -> dict[str, tuple[str, list[str]]]:
    """The version and the requirements of every package in the checkout's environment."""
    done = subprocess.run(
        [str(checkout.python), "-c", _PROBE], capture_output=True, text=True, check=True
    )
    return {
        canonicalize_name(name): (version, needs or [])
        for name, (version, needs) in json.loads(done.stdout).items()
    }


@pytest.fixture(scope="module")
def project(checkout: Checkout) -> dict[str, Any]:
    return tomllib.loads((checkout.musubi / "pyproject.toml").read_text("utf-8"))["project"]


def test_the_copy_of_its_requirements_is_true(project: dict[str, Any]) -> None:
    copied = tomllib.loads(REQUIREMENTS.read_text("utf-8"))

    assert copied == {
        "dependencies": project["dependencies"],
        MUSUBI_EXTRA: project["optional-dependencies"][MUSUBI_EXTRA],
        "requires-python": project["requires-python"],
    }


def test_these_tests_run_with_the_versions_that_the_image_installs(
    project: dict[str, Any], installed: dict[str, tuple[str, list[str]]]
) -> None:
    pinned = [its for its in MUSUBI_PACKAGES if its.startswith(("torch==", "torchvision=="))]
    exact = [its for its in project["dependencies"] if "==" in its]

    found = {name: version.partition("+")[0] for name, (version, _) in installed.items()}
    wanted = dict(its.split("==") for its in (*exact, *pinned))
    assert wanted.items() <= {name: found.get(name) for name in wanted}.items()


def test_all_that_it_needs_in_turn_is_pinned(
    project: dict[str, Any], installed: dict[str, tuple[str, list[str]]]
) -> None:
    own = [Requirement(text) for text in project["dependencies"]]
    exact = {canonicalize_name(its.name) for its in own if str(its.specifier).startswith("==")}
    pinned = {canonicalize_name(package.split("==")[0]) for package in MUSUBI_PACKAGES}

    wanted = needed([*(its.name for its in own), "torch", "torchvision"], installed)

    assert wanted - exact - pinned == set()


def needed(names: list[str], installed: dict[str, tuple[str, list[str]]]) -> set[str]:
    """Return these packages and all that they need in turn, but the builds for one card."""
    found: set[str] = set()
    waiting = [canonicalize_name(name) for name in names]
    while waiting:
        name = waiting.pop()
        if name in found or name == "triton" or name.startswith(("nvidia-", "cuda-")):
            continue
        found.add(name)
        for its in map(Requirement, installed.get(name, ("", []))[1]):
            if its.marker is None or its.marker.evaluate(_PLATFORM):
                waiting.append(canonicalize_name(its.name))
    return found
