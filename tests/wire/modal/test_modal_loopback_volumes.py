"""Volumes: private views, commits, reloads."""

from pathlib import Path

import modal
import pytest

from tests.wire.modal.lookup import deployed
from tests.wire.modal.loopback.api import Loopback

APP = """
import os
from pathlib import Path
import modal

app = modal.App("files", image=modal.Image.debian_slim(python_version="3.11"))
volume = modal.Volume.from_name("data", create_if_missing=True)
DATA = Path(os.environ.get("LORABOT_MOUNT_ROOT", "/")) / "mnt/data"

@app.function(volumes={"/mnt/data": volume})
def write(name, text, commit=True):
    (DATA / name).write_text(text)
    if commit:
        volume.commit()

@app.cls(volumes={"/mnt/data": volume})
class Reader:
    @modal.method()
    def read(self, name, reload=False, hold=False):
        file = (DATA / "kept").open() if hold else None
        if reload:
            volume.reload()
        path = DATA / name
        return path.read_text() if path.exists() else None
"""


@pytest.fixture
def app(loopback: Loopback, tmp_path: Path) -> Path:
    path = tmp_path / "files_app.py"
    path.write_text(APP)
    loopback.settings.idle_seconds = 30
    loopback.deploy(path)
    return path


def test_others_see_a_commit_only_after_they_reload(loopback: Loopback, app: Path) -> None:
    reader = modal.Cls.from_name("files", "Reader")()
    assert reader.read.remote("a.txt") is None

    deployed("files", "write").remote("a.txt", "first")

    assert reader.read.remote("a.txt") is None
    assert reader.read.remote("a.txt", reload=True) == "first"


def test_the_api_reads_and_writes_the_committed_files(loopback: Loopback, app: Path) -> None:
    volume = modal.Volume.from_name("data")
    deployed("files", "write").remote("a.txt", "first")

    with volume.batch_upload() as batch:
        batch.put_file(app, "/code/app.py")

    assert b"".join(volume.read_file("a.txt")) == b"first"
    assert b"".join(volume.read_file("code/app.py")) == app.read_bytes()
    assert {its.path for its in volume.listdir("/", recursive=True)} == {
        "a.txt",
        "code",
        "code/app.py",
    }


def test_a_reload_with_open_files_fails(loopback: Loopback, app: Path) -> None:
    deployed("files", "write").remote("kept", "open")
    reader = modal.Cls.from_name("files", "Reader")()

    with pytest.raises(RuntimeError, match="there are open files preventing the operation"):
        reader.read.remote("kept", reload=True, hold=True)
