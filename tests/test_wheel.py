"""The wheel that `pipx install .` builds holds every file that the product reads."""

import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]
PACKAGES = ("bot", "training", "storage")
BUILD = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
# Run where the source is not: reads what is not code.
READ = """
from importlib.resources import files
from bot.messages.datasets.contact_sheet import draw_sheet
from bot.sandbox.openapi_check import official
from training.comfyui.graph import node_table
official()
node_table()
for package in ("bot.sandbox", "bot.web.uploads"):
    files(package).joinpath("page/index.html").read_bytes()
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # Built from a copy, because setuptools leaves files beside the source.
    source = tmp_path_factory.mktemp("source")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    made = tmp_path_factory.mktemp("dist")
    _run(source, sys.executable, "-c", BUILD, str(made))
    (found,) = made.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment with the wheel, and the packages that it needs from ours."""
    root = tmp_path_factory.mktemp("environment")
    venv.create(root, symlinks=True)
    (packages,) = root.glob("lib/python*/site-packages")
    shared = [path for path in sys.path if path.endswith("site-packages")]
    (packages / "shared.pth").write_text("\n".join(shared), "utf-8")
    pip = ("install", "--quiet", "--no-deps", "--no-index", "--no-compile", str(wheel))
    _run(root, sys.executable, "-m", "pip", "--python", str(root / "bin/python"), *pip)
    return root / "bin"


def test_the_wheel_has_every_file_of_the_packages_and_fits_every_system(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        found = {name for name in archive.namelist() if ".dist-info/" not in name}

    assert found == {
        path.relative_to(ROOT).as_posix()
        for name in PACKAGES
        for path in (ROOT / name).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert wheel.name.endswith("-py3-none-any.whl")


@pytest.mark.parametrize("arguments", [("--help",), ("models",), ("--version",)])
def test_the_command_runs_where_the_source_is_not(
    installed: Path, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    assert _run(tmp_path, str(installed / "lorabot"), *arguments)


def test_the_files_that_are_not_code_are_read(installed: Path, tmp_path: Path) -> None:
    where = "import bot; print(bot.__file__)"

    assert _run(tmp_path, str(installed / "python"), "-c", where).startswith(str(installed.parent))
    _run(tmp_path, str(installed / "python"), "-c", READ)


def _run(folder: Path, *command: str) -> str:
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
