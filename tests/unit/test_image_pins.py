"""What images install: exact versions, within what the project asks for."""

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from training.image_pins import MUSUBI_COMMANDS, MUSUBI_PACKAGES, PACKAGES, TORCH, UV
from training.musubi.launcher.hooks import MUSUBI_COMMIT

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))
PINNED = re.compile(r"[A-Za-z0-9._-]+==[0-9][0-9a-z.+]*")


def pins(packages: tuple[str, ...]) -> dict[str, str]:
    found = (package.split("==") for package in packages)
    return {canonicalize_name(name): version for name, version in found}


def test_everything_is_pinned() -> None:
    for package in (*PACKAGES, TORCH, *MUSUBI_PACKAGES, f"uv=={UV}"):
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
