"""The production engine: a checkout, its interpreter, the launcher."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from bot.hosting.local import LocalInstallation
from bot.settings import Settings
from training.errors import RequestError, StageError
from training.musubi.checkout import commit_of
from training.musubi.engine import MusubiEngine
from training.musubi.launcher.hooks import MUSUBI_COMMIT


def a_checkout(root: Path, *, has_environment: bool = True) -> Path:
    script = root / "src/musubi_tuner/wan_train_network.py"
    script.parent.mkdir(parents=True)
    script.touch()
    if has_environment:
        (root / ".venv/bin").mkdir(parents=True)
        (root / ".venv/bin/python").touch()
    return root


def test_a_script_is_started_by_the_checkouts_own_interpreter_through_the_launcher(
    tmp_path: Path,
) -> None:
    checkout = a_checkout(tmp_path / "musubi")
    settings = Settings(home=tmp_path / "home", musubi_dir=checkout, state_seconds=60)

    engine = LocalInstallation(settings).engine("musubi")

    python, launcher, script, *rest = engine.command("wan_train_network.py", ("--seed", "1"))
    assert python == str(checkout / ".venv/bin/python")
    assert (Path(launcher) / "__main__.py").is_file()
    assert script == str(checkout / "src/musubi_tuner/wan_train_network.py")
    assert rest == ["--seed", "1"]
    assert engine.environment()["LORABOT_STATE_SECONDS"] == "60"


def test_another_interpreter_can_be_named(tmp_path: Path) -> None:
    checkout, python = a_checkout(tmp_path / "musubi"), tmp_path / "python"
    python.touch()
    settings = Settings(home=tmp_path / "home", musubi_dir=checkout, musubi_python=python)

    engine = LocalInstallation(settings).engine("musubi")

    assert engine.command("wan_cache_latents.py", ())[0] == str(python)


def test_a_state_is_saved_every_quarter_of_an_hour_unless_set_otherwise() -> None:
    engine = MusubiEngine(Path("/musubi"), Path("/python"))

    assert engine.environment()["LORABOT_STATE_SECONDS"] == "900"
    assert Settings.model_fields["state_seconds"].default == 900


@pytest.mark.parametrize(
    ("folder", "told"),
    [
        (None, "Set LORABOT_MUSUBI_DIR"),
        ("empty", "not a musubi-tuner checkout"),
        ("bare", "LORABOT_MUSUBI_PYTHON"),
    ],
)
def test_missing_parts_are_named_with_a_fix(tmp_path: Path, folder: str | None, told: str) -> None:
    (tmp_path / "empty").mkdir()
    a_checkout(tmp_path / "bare", has_environment=False)
    chosen = tmp_path / folder if folder else None
    settings = Settings(home=tmp_path / "home", musubi_dir=chosen)

    with pytest.raises(RequestError) as refused:
        LocalInstallation(settings).engine("musubi")

    assert told in str(refused.value)


def git(folder: Path, *arguments: str) -> str:
    names = ("-c", "user.name=a", "-c", "user.email=a@localhost", "-c", "init.defaultBranch=main")
    done = subprocess.run(
        ["git", *names, *arguments], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    checkout = a_checkout(tmp_path / "musubi")
    git(checkout, "init", "--quiet")
    git(checkout, "commit", "--quiet", "--allow-empty", "--message", "a")
    return checkout


@pytest.mark.parametrize("state", ["branch", "packed", "detached", "worktree"])
def test_the_commit_of_a_checkout_is_read_from_gits_files(repository: Path, state: str) -> None:
    checkout = repository
    if state == "packed":
        git(checkout, "pack-refs", "--all")
    elif state == "detached":
        git(checkout, "checkout", "--quiet", "--detach")
    elif state == "worktree":
        checkout = repository.parent / "beside"
        git(repository, "worktree", "add", "--quiet", str(checkout))

    assert commit_of(checkout) == git(checkout, "rev-parse", "HEAD")


def test_another_commit_is_refused_with_the_one_to_check_out(
    repository: Path, tmp_path: Path
) -> None:
    settings = Settings(home=tmp_path / "home", musubi_dir=repository)

    with pytest.raises(RequestError, match=git(repository, "rev-parse", "HEAD")) as refused:
        LocalInstallation(settings).engine("musubi")

    assert f"checkout {MUSUBI_COMMIT}" in refused.value.fix


def test_a_copy_without_git_is_accepted(tmp_path: Path) -> None:
    checkout = a_checkout(tmp_path / "musubi")

    assert commit_of(checkout) is None
    assert LocalInstallation(Settings(home=tmp_path / "home", musubi_dir=checkout)).engine("musubi")


def test_the_expected_commit_is_accepted(repository: Path, tmp_path: Path) -> None:
    (repository / ".git/HEAD").write_text(f"{MUSUBI_COMMIT}\n")

    assert LocalInstallation(Settings(home=tmp_path / "home", musubi_dir=repository)).engine(
        "musubi"
    )


def test_the_reader_of_clips_is_that_of_the_engines_environment(tmp_path: Path) -> None:
    engine = MusubiEngine(tmp_path, Path(sys.executable))

    assert engine.clip_reader() == f"PyAV {version('av')}"


def test_an_environment_without_a_reader_of_clips_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="has no PyAV"):
        MusubiEngine(tmp_path, tmp_path / "python").clip_reader()
