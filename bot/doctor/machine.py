"""Checks this machine: Python, packages, disk space and, for real training, the GPU."""

import json
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from bot.doctor.finding import CheckResult, failed, fine, refused, unchecked
from bot.hosting.linux import require_linux
from bot.hosting.local import LocalInstallation, musubi_checkout
from bot.settings import Settings
from training.deployment.image_pins import PACKAGES, PYTHON
from training.errors import RequestError
from training.files.code_path import CODE_ROOT
from training.files.sizes import size
from training.musubi.checkout import commit_of
from training.operations.trash.emptying import TrashBin
from training.wording import listed

_OLDEST_PYTHON = (3, 11)
_PROJECT = "wan-lora-bot"
_ROOM_BYTES = 2 << 30  # free space for datasets and rehearsals
# A 14B model takes 28.6 GB in 16 bits, its text encoder 11.4 GB, and CLIP 4.8 GB.
WEIGHTS_BYTES = 45 * 10**9
_PROBE_SECONDS = 120
_PROBE = (
    "import json, torch\n"
    "gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else None\n"
    "print(json.dumps({'torch': torch.__version__, 'gpu': gpu}))\n"
)


def machine_findings(settings: Settings) -> Iterator[CheckResult]:
    """Yield the result of each check of this machine."""
    yield _python()
    yield _packages()
    yield _home(settings.home_folder)
    yield _room(settings)
    yield from _musubi(settings)


def _python() -> CheckResult:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < _OLDEST_PYTHON:
        return failed("Python", f"This is Python {version}.", "Install Python 3.11 or newer.")
    return fine("Python", f"{version}; containers on Modal have {PYTHON}")


def _packages() -> CheckResult:
    wanted = _requirements()
    pins = {name: pin for name, _, pin in (package.partition("==") for package in PACKAGES)}
    wrong: dict[str, str] = {}
    others: list[str] = []
    for requirement in wanted:
        version = _installed(requirement.name)
        pin = pins.get(requirement.name, "")
        if version is None or not requirement.specifier.contains(version, prereleases=True):
            name = requirement.name
            wrong[name] = f"{name} {version}, not {pin}" if version else f"{name} {pin} is missing"
        elif version != pin:
            others.append(f"{requirement.name} {pin}, here {version}")
    if wrong:
        names = " ".join(f"'{name}=={pin}'" for name, pin in pins.items() if name in wrong)
        return failed("packages", f"{'; '.join(wrong.values())}.", f"pip install {names}")
    text = f"all {len(wanted)} match pyproject.toml"
    if others:
        text += f"; Modal containers use other versions: {'; '.join(others)}"
    return fine("packages", text)


def _requirements() -> list[Requirement]:
    """Return the packages that every system needs, from pyproject.toml or the package metadata."""
    source = CODE_ROOT / "pyproject.toml"
    if source.is_file():
        listed: list[str] = tomllib.loads(source.read_text("utf-8"))["project"]["dependencies"]
    else:
        listed = metadata.requires(_PROJECT) or []
    found = [Requirement(text) for text in listed]
    return [its for its in found if its.marker is None]


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _home(home: Path) -> CheckResult:
    folder = _existing(home)
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"x")
    except OSError as error:
        return failed(
            "home folder",
            f"{home} is not writable: {error.strerror}.",
            "Choose another folder with --home or LORABOT_HOME.",
        )
    return fine("home folder", str(home) if folder == home else f"{home}, created on first use")


def _room(settings: Settings) -> CheckResult:
    home = settings.home_folder
    free_bytes = shutil.disk_usage(_existing(home)).free
    has_weights = (home / "models" / "musubi").is_dir()
    needs_weights = settings.musubi_dir is not None and not has_weights
    need_bytes = WEIGHTS_BYTES if needs_weights else _ROOM_BYTES
    what = "the weights of one 14B model" if needs_weights else "datasets and runs"
    trash = _trash(settings) if (home / "guilds").is_dir() else ""
    if free_bytes < need_bytes:
        return failed(
            "disk",
            f"{size(free_bytes)} free, but {what} need {size(need_bytes)}.{trash}",
            f"Free up space on the disk of {home}, or choose another folder with --home or "
            "LORABOT_HOME.",
        )
    return fine("disk", f"{size(free_bytes)} free; {what} need {size(need_bytes)}.{trash}")


def _trash(settings: Settings) -> str:
    """Return a sentence with the trash's size and how to empty it; "" if there is no trash."""
    local = LocalInstallation(settings)
    trash = TrashBin(local.runtime)
    held = {guild: found for guild in local.guilds() if (found := trash.held(guild)).size_bytes}
    if not held:
        return ""
    total = sum(found.size_bytes for found in held.values())
    commands = [f"lorabot trash --empty --server {guild}" for guild in held]
    return f" Removed items take up {size(total)}; to delete them now: {listed(commands)}."


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if path.is_dir())


def _musubi(settings: Settings) -> Iterator[CheckResult]:
    try:
        require_linux("Training on this machine")
    except RequestError as error:
        yield unchecked("musubi-tuner", f"{error.cause} {error.fix}")
        yield unchecked("GPU", error.cause)
        return
    if settings.musubi_dir is None:
        why = "LORABOT_MUSUBI_DIR is not set, so this machine only runs rehearsals on its CPU"
        yield unchecked("musubi-tuner", why)
        yield unchecked("GPU", why)
        return
    try:
        checkout, python = musubi_checkout(settings)
    except RequestError as error:
        yield refused("musubi-tuner", error)
        yield unchecked("GPU", "this check needs musubi-tuner's interpreter, which is missing")
        return
    yield _commit(checkout)
    yield _gpu(python, settings.gpu)


def _commit(checkout: Path) -> CheckResult:
    commit = commit_of(checkout)
    if commit is None:
        return unchecked(
            "musubi-tuner", f"{checkout} is not a git checkout, so its commit is unknown"
        )
    return fine("musubi-tuner", f"{checkout} at commit {commit[:12]}")


def _gpu(python: Path, named: str | None) -> CheckResult:
    try:
        done = subprocess.run(
            (str(python), "-c", _PROBE),
            capture_output=True,
            text=True,
            timeout=_PROBE_SECONDS,
            check=True,
        )
        found: dict[str, Any] = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        said = getattr(error, "stderr", None) or str(error)
        return failed(
            "GPU",
            f"{python} cannot load torch: {said.strip().splitlines()[-1]}",
            "Reinstall musubi-tuner for that interpreter, as described in "
            "training/musubi/README.md.",
        )
    if found["gpu"] is None:
        return failed(
            "GPU",
            f"torch {found['torch']} sees no GPU.",
            "Install NVIDIA driver 580 or newer, or the CUDA build of torch that fits your driver "
            "(nvidia-smi shows its version), as described in training/musubi/README.md.",
        )
    note = "" if named else "; set LORABOT_GPU to refuse runs that do not fit this GPU"
    return fine("GPU", f"{found['gpu']}, torch {found['torch']}{note}")
