"""The probe's Modal app: short CPU containers, at least one for each image, and its own Volume."""

import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import TypedDict

import modal

from bot.deploy.probe.mount_checks import (
    COMMITTED,
    OPEN,
    rename_folder,
    sizes_and_times,
    wait_until,
)
from training.deployment.image_recipes import RECIPES, ImageName, command, images_of
from training.deployment.modal_images import image
from training.deployment.names import Deployment

DEPLOYMENT = Deployment.from_env(os.environ)
NAME = f"{DEPLOYMENT.name}-probe"
KEYS = 50
_MOUNT = "/mnt/lorabot/probe"
_FOLDER = DEPLOYMENT.root / _MOUNT.lstrip("/")
_SECONDS = 300
IMAGES = images_of(DEPLOYMENT.engine)

app = modal.App(NAME)
volume = modal.Volume.from_name(NAME, create_if_missing=True, version=1)
entries = modal.Dict.from_name(NAME, create_if_missing=True)
_BOT = image("bot")


class _Options(TypedDict):
    """Options that all Functions of the probe share."""

    env: dict[str, str | None]
    cpu: float
    timeout: int
    startup_timeout: int


_OPTIONS: _Options = {
    "env": DEPLOYMENT.variables(),
    "cpu": 0.5,
    "timeout": _SECONDS,
    "startup_timeout": _SECONDS,
}


@app.function(image=_BOT, volumes={_MOUNT: volume}, **_OPTIONS)
def rename() -> tuple[str, str]:
    """Rename a folder and commit; return the errors of fsync and of rename."""
    errors = rename_folder(_FOLDER)
    volume.commit()
    return errors


@app.function(image=_BOT, volumes={_MOUNT: volume}, **_OPTIONS)
def read_during_commit() -> tuple[str, bool]:
    """Hold a file open until the other container has committed.

    Returns:
        Why Modal refuses a reload while the file is open ("" if it does not), and whether a reload
        after closing the file shows the commit.
    """
    refusal = ""
    with (_FOLDER / OPEN).open("rb") as file:
        file.read()
        entries.put("reading", value=True)
        wait_until(lambda: entries.contains("committed"))
        try:
            volume.reload()
        except (RuntimeError, modal.exception.Error) as error:
            refusal = str(error)
    volume.reload()
    return refusal, (_FOLDER / COMMITTED).exists()


@app.function(image=_BOT, volumes={_MOUNT: volume}, **_OPTIONS)
def commit_during_read() -> tuple[float, str]:
    """Commit while the other container reads; return the seconds it took, and its error or ""."""
    wait_until(lambda: entries.contains("reading"))
    (_FOLDER / COMMITTED).write_text("written while another container reads")
    started, refusal = time.monotonic(), ""
    try:
        volume.commit()
    except (RuntimeError, modal.exception.Error) as error:
        refusal = str(error)
    entries.put("committed", value=True)
    return time.monotonic() - started, refusal


@app.function(image=_BOT, volumes={_MOUNT: volume}, **_OPTIONS)
def mounted_files() -> dict[str, tuple[int, int]]:
    """Reload the mount; return the size and modification time (in whole seconds) of each file."""
    volume.reload()
    return sizes_and_times(_FOLDER)


@app.function(image=_BOT, **_OPTIONS)
def take_keys(me: int, other: int) -> list[int]:
    """Put each key if it is absent, while another container does the same.

    Returns:
        The keys that this container put.
    """
    entries.put(f"client {me}", value=True)
    wait_until(lambda: entries.contains(f"client {other}"))
    return [key for key in range(KEYS) if entries.put(f"key {key}", me, skip_if_exists=True)]


@app.function(image=_BOT, volumes={_MOUNT: volume}, **_OPTIONS)
def disk_usage() -> tuple[int, int]:
    """Return the free bytes of the Volume's mount and of the container's own disk."""
    return shutil.disk_usage(_FOLDER).free, shutil.disk_usage(Path("/tmp")).free


def _imports(name: ImageName) -> str:
    """Run the last build step of an image; return the last line of its error, "" if it works."""
    for check in RECIPES[name].checks:
        done = subprocess.run(
            command(*check), shell=True, capture_output=True, text=True, check=False
        )
        if done.returncode:
            return (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1]
    return ""


@app.function(image=image("stage"), memory=1024, **_OPTIONS)
def import_stage() -> str:
    return _imports("stage")


@app.function(image=image("merge"), memory=2048, **_OPTIONS)
def import_merge() -> str:
    return _imports("merge")


@app.function(image=image("gpu" if "gpu" in IMAGES else "merge"), memory=4096, **_OPTIONS)
def import_gpu() -> str:
    return _imports("gpu")


@app.function(image=_BOT, memory=1024, **_OPTIONS)
def import_bot() -> str:
    return _imports("bot")


IMPORTS = {"stage": import_stage, "merge": import_merge, "gpu": import_gpu, "bot": import_bot}
