"""What the doctor finds on this machine."""

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import pytest

from bot.doctor import machine
from bot.doctor.finding import CheckResult
from bot.doctor.machine import machine_findings
from bot.hosting.local import LocalInstallation
from bot.settings import Settings
from training import store_keys
from training.deployment.image_pins import PACKAGES
from training.musubi.launcher.hooks import MUSUBI_COMMIT
from training.registry.trash import Trash

GIB = 1 << 30


class Usage(NamedTuple):
    """The bytes of a disk."""

    total: int
    used: int
    free: int


def look(settings: Settings) -> dict[str, CheckResult]:
    return {finding.check: finding for finding in machine_findings(settings)}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home" / "of" / "it")


def test_this_environment_passes_and_nothing_is_created(settings: Settings) -> None:
    found = look(settings)

    assert {found[check].status for check in ("Python", "packages", "home folder")} == {"fine"}
    assert found["GPU"].status == "not checked"
    assert not settings.home.exists()


def test_a_package_of_another_version_is_named_with_the_command(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    _install(monkeypatch, modal="1.5.0")

    packages = look(settings)["packages"]

    pin = next(package for package in PACKAGES if package.startswith("modal=="))
    assert packages.status == "failed"
    assert "modal 1.5.0, not 1.6.4" in packages.text
    assert packages.fix == f"pip install '{pin}'"


def test_versions_that_differ_from_the_containers_are_reported(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    _install(monkeypatch, numpy="2.0.0")

    packages = look(settings)["packages"]

    assert packages.status == "fine"
    assert "here 2.0.0" in packages.text


def test_a_home_that_cannot_be_written_to_is_refused() -> None:
    found = look(Settings(home=Path("/proc/lorabot")))

    assert found["home folder"].status == "failed"
    assert "LORABOT_HOME" in found["home folder"].fix


def test_a_full_disk_is_reported(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    _free(monkeypatch, GIB)

    disk = look(settings)["disk"]

    assert disk.status == "failed"
    assert "1.0 GiB free" in disk.text


def test_what_was_removed_is_counted_with_the_command_that_deletes_it(tmp_path: Path) -> None:
    local = LocalInstallation(Settings(home=tmp_path))
    local.runtime.store.write(f"{store_keys.lora('7', 'old')}/file", bytes(3000))
    Trash(local.runtime.store).put("7", "checkpoints", ["old"], by="1")

    disk = look(Settings(home=tmp_path))["disk"]

    assert "Removed items take up 2.9 KiB" in disk.text
    assert "lorabot trash --empty --server 7" in disk.text


def test_real_training_needs_room_for_weights(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _free(monkeypatch, 20 * GIB)
    real = settings.model_copy(update={"musubi_dir": tmp_path})

    assert look(settings)["disk"].status == "fine"
    assert look(real)["disk"].status == "failed"


def test_a_folder_that_is_not_a_checkout_is_reported(settings: Settings, tmp_path: Path) -> None:
    found = look(settings.model_copy(update={"musubi_dir": tmp_path}))

    assert "not a musubi-tuner checkout" in found["musubi-tuner"].text
    assert found["GPU"].status == "not checked"


def test_a_checkout_at_another_commit_is_reported_with_the_command(
    settings: Settings, tmp_path: Path
) -> None:
    script = _checkout(tmp_path)
    script.write_text("#!/bin/sh\nexit 1\n", "utf-8")
    git = ("git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@example.org")
    subprocess.run((*git, "init", "--quiet"), check=True)
    subprocess.run((*git, "commit", "--quiet", "--allow-empty", "-m", "x"), check=True)

    found = look(settings.model_copy(update={"musubi_dir": tmp_path}))

    assert found["musubi-tuner"].status == "failed"
    assert found["musubi-tuner"].fix.endswith(f"git -C {tmp_path} checkout {MUSUBI_COMMIT}")


@pytest.mark.parametrize(
    ("answer", "status", "text"),
    [
        ({"torch": "2.9.1", "gpu": "NVIDIA H100"}, "fine", "NVIDIA H100, torch 2.9.1"),
        ({"torch": "2.9.1", "gpu": None}, "failed", "torch 2.9.1 sees no GPU"),
    ],
)
def test_the_gpu_is_the_one_that_the_trainers_interpreter_sees(
    settings: Settings, tmp_path: Path, answer: dict[str, str], status: str, text: str
) -> None:
    script = _checkout(tmp_path)
    script.write_text(f"#!{sys.executable}\nprint({json.dumps(answer)!r})\n", "utf-8")

    gpu = look(settings.model_copy(update={"musubi_dir": tmp_path}))["GPU"]

    assert gpu.status == status
    assert text in gpu.text


def test_an_interpreter_without_torch_says_so(settings: Settings, tmp_path: Path) -> None:
    script = _checkout(tmp_path)
    script.write_text("#!/bin/sh\necho 'No module named torch' >&2\nexit 1\n", "utf-8")

    gpu = look(settings.model_copy(update={"musubi_dir": tmp_path}))["GPU"]

    assert gpu.status == "failed"
    assert "No module named torch" in gpu.text


def _install(monkeypatch: pytest.MonkeyPatch, **versions: str) -> None:
    """Pretend that packages are installed in other versions."""
    real = metadata.version

    def version(name: str) -> str:
        return versions.get(name) or real(name)

    monkeypatch.setattr(metadata, "version", version)


def _free(monkeypatch: pytest.MonkeyPatch, free_bytes: int) -> None:
    """Pretend that every disk has this much free space."""

    def disk_usage(_path: Path) -> Usage:
        return Usage(100 * GIB, 100 * GIB - free_bytes, free_bytes)

    monkeypatch.setattr(machine.shutil, "disk_usage", disk_usage)


def _checkout(folder: Path) -> Path:
    """Create a fake checkout and return the path for its interpreter."""
    (folder / "src/musubi_tuner").mkdir(parents=True)
    (folder / "src/musubi_tuner/wan_train_network.py").touch()
    (folder / ".venv/bin").mkdir(parents=True)
    python = folder / ".venv/bin/python"
    python.touch(mode=0o755)
    return python
