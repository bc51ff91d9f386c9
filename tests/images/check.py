"""Build the packages of every image in a clean Debian and import what its build step imports.

`make image-check`, as root, with debootstrap; musubi-tuner comes from `LORABOT_MUSUBI_DIR`. It
takes about 10 minutes and 10 GB in `--folder`, which is removed. Then each Debian library of an
image is removed once: the imports must fail without it.
"""

import argparse
import os
import re
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from tests.images.debian_root import DebianRoot, RootError
from training.deployment.image_pins import (
    MUSUBI_BUILD,
    MUSUBI_FOLDER,
    MUSUBI_PACKAGES,
    MUSUBI_PYTHON,
    TORCH_CPU_INDEX,
)
from training.deployment.image_recipes import MUSUBI_CHECK, RECIPES, ImageName, ImageRecipe
from training.musubi.checkout import commit_of
from training.musubi.launcher.hooks import MUSUBI_COMMIT

# For building only; nothing imports it.
_TOOLS = {"git"}
_OWN_FOLDER = "/opt/image"
_OWN_PYTHON = f"{_OWN_FOLDER}/bin/python"
# Their CPU builds have the same versions and are in a separate index.
_WITH_CPU_BUILDS = ("torch==", "torchvision==")


class ImageCheckError(Exception):
    """The check cannot be made, or an image lacks something."""


def musubi_checkout() -> Path:
    """Return the checkout that the GPU image is built from.

    Raises:
        ImageCheckError: There is none, or it is of another commit.
    """
    named = os.environ.get("LORABOT_MUSUBI_DIR")
    if not named:
        raise ImageCheckError(
            "LORABOT_MUSUBI_DIR is not set, so the GPU image cannot be checked. Set it to a "
            f"checkout of musubi-tuner at commit {MUSUBI_COMMIT}."
        )
    if (found := commit_of(Path(named))) != MUSUBI_COMMIT:
        raise ImageCheckError(
            f"{named} is at commit {found}, but the GPU image installs {MUSUBI_COMMIT}: "
            "check that one out."
        )
    return Path(named)


def require_tools() -> None:
    """Raise an ImageCheckError if this machine cannot make a root."""
    if os.geteuid() != 0:
        raise ImageCheckError("Only root may make a Debian root and enter it: run this as root.")
    missing = [name for name in ("debootstrap", "chroot", "unshare") if not shutil.which(name)]
    if missing:
        raise ImageCheckError(f"{', '.join(missing)}: not installed. apt-get install debootstrap")


def distinct(recipes: Iterable[tuple[ImageName, ImageRecipe]]) -> dict[ImageRecipe, str]:
    """Return each distinct recipe, with the names of its images."""
    names: dict[ImageRecipe, str] = {}
    for name, recipe in recipes:
        names[recipe] = f"{names[recipe]}, {name}" if recipe in names else name
    return names


def checks(recipe: ImageRecipe) -> list[tuple[str, str]]:
    """Return each interpreter with the program it must run, without the part that needs CUDA."""
    own = (_OWN_PYTHON, recipe.program)
    return [own, (MUSUBI_PYTHON, MUSUBI_CHECK)] if recipe.has_musubi else [own]


def build(root: DebianRoot, recipe: ImageRecipe, musubi: Path) -> None:
    """Install the packages of a recipe."""
    if recipe.system:
        root.install(*recipe.system)
    root.run("python3.11", "-m", "venv", _OWN_FOLDER)
    torch = (recipe.torch,) if recipe.torch else ()
    _install(root, _OWN_PYTHON, *torch, *recipe.packages)
    if recipe.has_musubi:
        target = root.folder / MUSUBI_FOLDER.lstrip("/")
        shutil.copytree(musubi, target, ignore=shutil.ignore_patterns(".venv", ".git"))
        root.run("python3.11", "-m", "venv", f"{MUSUBI_FOLDER}/.venv")
        _install(root, MUSUBI_PYTHON, *MUSUBI_BUILD)
        own = ("--no-build-isolation", "--editable", MUSUBI_FOLDER)
        _install(root, MUSUBI_PYTHON, *MUSUBI_PACKAGES, *own)


def require_libraries(root: DebianRoot, recipe: ImageRecipe) -> None:
    """Remove each Debian library once, and raise if the imports still work."""
    for library in sorted(set(recipe.system) - _TOOLS):
        root.take_out(library)
        try:
            _import_all(root, recipe)
        except RootError as error:
            _tell(f"  without {library}: {_summary(error)}")
        else:
            raise ImageCheckError(f"{library} is installed, but all imports work without it.")
        root.install(library)


def _install(root: DebianRoot, python: str, *packages: str) -> None:
    pip = (python, "-m", "pip", "install", "--quiet", "--no-compile", "--root-user-action=ignore")
    if torch := [f"{its}+cpu" for its in packages if its.startswith(_WITH_CPU_BUILDS)]:
        index = ("--index-url", TORCH_CPU_INDEX, "--retries", "0", "--timeout", "20")
        try:
            root.run(*pip, "--no-deps", *index, *torch)
        except RootError:
            _tell(f"  no registry here has {', '.join(torch)}: taking the CUDA builds")
    root.run(*pip, *packages)


def _import_all(root: DebianRoot, recipe: ImageRecipe) -> None:
    for python, program in checks(recipe):
        root.run(python, "-c", program)


def _summary(error: RootError) -> str:
    """Return the package whose import failed, and why."""
    text = str(error)
    packages: list[str] = re.findall(r"site-packages/(\w+)[/.]", text)
    reason = text.splitlines()[-1]
    return f"import {packages[-1]}: {reason}" if packages else reason


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def check(folder: Path) -> None:
    """Check every image.

    Raises:
        ImageCheckError: The check cannot be made, or an image lacks something.
    """
    musubi = musubi_checkout()
    require_tools()
    shutil.rmtree(folder, ignore_errors=True)
    try:
        _tell("a clean Debian with Python")
        clean = DebianRoot.create(folder / "clean")
        for recipe, names in distinct(RECIPES.items()).items():
            _tell(f"image {names}")
            root = clean.copy(folder / "image")
            build(root, recipe, musubi)
            _import_all(root, recipe)
            _tell("  all imports work")
            require_libraries(root, recipe)
            root.remove()
    except RootError as error:
        raise ImageCheckError(str(error)) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("build/image-check"))
    try:
        check(parser.parse_args().folder.resolve())
    except ImageCheckError as error:
        sys.exit(f"image-check failed: {error}")
    _tell("Every image has what it imports.")


if __name__ == "__main__":
    main()
