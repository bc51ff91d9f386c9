"""What musubi-tuner needs in its environment, compared with what the image pins."""

import json
import subprocess
import tomllib

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.musubi.checkout import Checkout
from training.deployment.image_pins import MUSUBI_PACKAGES

_PROBE = """
import json
from importlib.metadata import distributions
print(json.dumps({its.metadata["Name"]: its.requires or [] for its in distributions()}))
"""
_PLATFORM = {"extra": "", "platform_system": "Linux", "python_version": "3.11"}


def test_all_that_it_needs_in_turn_is_pinned(checkout: Checkout) -> None:
    done = subprocess.run(
        [str(checkout.python), "-c", _PROBE], capture_output=True, text=True, check=True
    )
    installed: dict[str, list[str]] = {
        canonicalize_name(name): needs for name, needs in json.loads(done.stdout).items()
    }
    project = tomllib.loads((checkout.musubi / "pyproject.toml").read_text("utf-8"))["project"]
    own = [Requirement(text) for text in project["dependencies"]]
    exact = {canonicalize_name(its.name) for its in own if str(its.specifier).startswith("==")}
    pinned = {canonicalize_name(package.split("==")[0]) for package in MUSUBI_PACKAGES}

    wanted = needed([*(its.name for its in own), "torch", "torchvision"], installed)

    assert wanted - exact - pinned == set()


def needed(names: list[str], installed: dict[str, list[str]]) -> set[str]:
    """Return these packages and all that they need in turn, but the builds for one card."""
    found: set[str] = set()
    waiting = [canonicalize_name(name) for name in names]
    while waiting:
        name = waiting.pop()
        if name in found or name == "triton" or name.startswith(("nvidia-", "cuda-")):
            continue
        found.add(name)
        for its in map(Requirement, installed.get(name, ())):
            if its.marker is None or its.marker.evaluate(_PLATFORM):
                waiting.append(canonicalize_name(its.name))
    return found
