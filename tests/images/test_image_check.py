"""`make image-check` before it builds anything; the builds themselves take minutes."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.images import check
from tests.images.check import ImageCheckError, checks, distinct, musubi_checkout
from tests.images.debian_root import DebianRoot, RootError
from training.deployment.image_pins import MUSUBI_PYTHON
from training.deployment.image_recipes import MUSUBI_CHECK, RECIPES, ImageRecipe
from training.musubi.launcher.hooks import MUSUBI_COMMIT

ROOT = Path(__file__).parents[2]
NO_GL = """Traceback (most recent call last):
  File "<string>", line 1, in <module>
  File "/opt/musubi-tuner/.venv/lib/python3.11/site-packages/cv2/__init__.py", line 153
ImportError: libGL.so.1: cannot open shared object file: No such file or directory"""


class Recorded(DebianRoot):
    """A root in which commands do nothing, and programs fail while a library is removed."""

    def run(self, *command: str) -> str:
        log = self.folder / "commands"
        done = log.read_text() if log.exists() else ""
        log.write_text(f"{done}{' '.join(command)}\n")
        gone = done.count("--force-depends libgl1") > done.count("recommends libgl1")
        if gone and "import cv2" in command[-1]:
            raise RootError(NO_GL)
        return ""


def test_without_a_checkout_of_musubi_the_target_fails_and_says_so() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.images.check"],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert "LORABOT_MUSUBI_DIR is not set, so the GPU image cannot be checked" in done.stderr


def test_a_checkout_of_another_commit_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git/HEAD").write_text("0" * 40)
    monkeypatch.setenv("LORABOT_MUSUBI_DIR", str(tmp_path))

    with pytest.raises(ImageCheckError, match=f"but the GPU image installs {MUSUBI_COMMIT}"):
        musubi_checkout()


def test_images_of_the_same_packages_are_built_once() -> None:
    assert sorted(distinct(RECIPES.items()).values()) == ["gpu", "merge", "stage, bot"]


def test_each_interpreter_runs_the_imports_of_its_build_step() -> None:
    assert [program for _, program in checks(RECIPES["gpu"])] == [
        RECIPES["gpu"].program,
        MUSUBI_CHECK,
    ]
    assert dict(RECIPES["gpu"].checks)[MUSUBI_PYTHON].startswith(MUSUBI_CHECK)


def test_each_library_is_taken_out_once_and_put_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = ImageRecipe(system=("git", "libgl1"), has_musubi=True)

    check.require_libraries(Recorded(tmp_path), recipe)

    assert "without libgl1: import cv2: ImportError: libGL.so.1" in capsys.readouterr().out
    assert "recommends libgl1" in (tmp_path / "commands").read_text()


def test_a_library_that_nothing_needs_fails_the_check(tmp_path: Path) -> None:
    recipe = ImageRecipe(system=("libunused",), has_musubi=True)

    with pytest.raises(ImageCheckError, match="libunused is installed, but all imports work"):
        check.require_libraries(Recorded(tmp_path), recipe)
