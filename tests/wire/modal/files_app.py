"""An app that reads, writes, commits and reloads a volume as it is told."""

from typing import Any

import modal

from tests.wire.modal.lookup import deployed
from tests.wire.modal.loopback.api import Loopback

APP = """
import mmap
import os
import time
from pathlib import Path

import modal

app = modal.App("files", image=modal.Image.debian_slim(python_version="3.11"))
volume = modal.Volume.from_name("data", create_if_missing=True)
other = modal.Volume.from_name("other", create_if_missing=True)
DATA = Path(os.environ.get("LORABOT_MOUNT_ROOT", "/")) / "mnt/data"

def act(steps):
    seen = []
    for step, *arguments in steps:
        if step == "write":
            (DATA / arguments[0]).parent.mkdir(parents=True, exist_ok=True)
            (DATA / arguments[0]).write_text(arguments[1])
        elif step == "patch":  # in place
            with (DATA / arguments[0]).open("r+b") as file:
                file.write(arguments[1].encode())
        elif step == "read":
            path = DATA / arguments[0]
            seen.append(path.read_text() if path.exists() else None)
        elif step == "delete":
            (DATA / arguments[0]).unlink()
        elif step == "commit":
            volume.commit()
        elif step == "reload":
            volume.reload()
        elif step == "hold":
            act.held = (DATA / arguments[0]).open()
        elif step == "map":
            with (DATA / arguments[0]).open("rb") as file:
                act.held = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        elif step == "enter":
            os.chdir(DATA)
        elif step == "die":
            os._exit(3)
    return seen

@app.function(volumes={"/mnt/data": volume}, single_use_containers=True)
def once(*steps):
    return act(steps)

@app.cls(volumes={"/mnt/data": volume}, max_containers=1)
class Kept:
    @modal.method()
    def do(self, *steps):
        return act(steps)

@app.function(volumes={"/mnt/data": volume.with_mount_options(read_only=True)})
def read_only(*steps):
    return act(steps)

@app.function(volumes={"/mnt/data": volume.with_mount_options(sub_path="inner")})
def inner(*steps):
    return act(steps)

@app.function()
def without(*steps):
    return act(steps)
"""


class Files:
    """The deployed app."""

    def __init__(self, loopback: Loopback) -> None:
        self.loopback = loopback
        self.volume = modal.Volume.from_name("data")
        kept: Any = modal.Cls.from_name("files", "Kept")
        self._kept = kept()

    def once(self, *steps: tuple[str, ...], function: str = "once") -> list[str | None]:
        """Do steps in a new container."""
        return deployed("files", function).remote(*steps)

    def kept(self, *steps: tuple[str, ...]) -> list[str | None]:
        """Do steps in a container that stays."""
        return self._kept.do.remote(*steps)

    def committed(self, path: str) -> bytes:
        """Read a file through the API."""
        return b"".join(self.volume.read_file(path))
