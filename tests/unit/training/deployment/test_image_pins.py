"""What images install: exact versions, within what the project asks for."""

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from training.deployment.image_pins import (
    INDIRECT,
    MUSUBI_BUILD,
    MUSUBI_COMMANDS,
    MUSUBI_PACKAGES,
    PACKAGES,
    PYTHON,
    TORCH,
    TORCH_NEEDS,
    UV,
)
from training.musubi.launcher.hooks import MUSUBI_COMMIT

PROJECT = tomllib.loads((Path(__file__).parents[4] / "pyproject.toml").read_text("utf-8"))
CONTAINER = {"python_version": PYTHON, "platform_system": "Linux", "sys_platform": "linux"}
PINNED = re.compile(r"[A-Za-z0-9._-]+==[0-9][0-9a-z.+]*")


def pins(packages: tuple[str, ...]) -> dict[str, str]:
    found = (package.split("==") for package in packages)
    return {canonicalize_name(name): version for name, version in found}


def needed(*packages: str) -> dict[str, list[Requirement]]:
    """Return all that these packages need in turn, as they are installed here, with what asks."""
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
def test_what_is_needed_indirectly_is_pinned_too_to_what_fits_all_who_need_it(
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


def test_the_pins_are_the_projects_own_dependencies_and_fit_them() -> None:
    wanted = [Requirement(text) for text in PROJECT["project"]["dependencies"]]
    pinned = pins(PACKAGES)

    assert set(pinned) == {canonicalize_name(requirement.name) for requirement in wanted}
    for requirement in wanted:
        assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)])


def test_no_image_of_the_bot_has_torch() -> None:
    assert "torch" not in pins(PACKAGES)
    assert TORCH in PROJECT["project"]["optional-dependencies"]["local"]
